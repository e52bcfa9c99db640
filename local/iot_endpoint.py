"""The address devices connect to.

AWS IoT API Reference, "DescribeEndpoint": the answer is a host name, without a
port, that the server's certificate is good for. The emulator answers a name
under `localhost` with the port of its HTTP API, which resolves nowhere. Here it
is the MQTT listener's host, by name, since a device that dials an address sends
no server name; its port is among the outputs of the local cloud.
"""

from __future__ import annotations

from ministack.core.responses import json_response
from ministack.services import iot

from local.iot_routes import Response
from local.settings import MQTT_HOST


def install() -> None:
    inner = iot._describe_endpoint

    def describe_endpoint(qp: dict) -> Response:
        if qp.get("endpointType", "iot:Data-ATS") == "iot:Data-ATS":
            return json_response({"endpointAddress": MQTT_HOST})
        return inner(qp)

    iot._describe_endpoint = describe_endpoint
