"""AWS: DescribeEndpoint answers a host without a port, which the server's certificate is good for."""

from __future__ import annotations

import socket
import ssl


def test_the_data_endpoint_is_the_mqtt_listeners_host(cloud):
    host = cloud.client("iot").describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"]
    context = ssl.create_default_context(cafile=str(cloud.mqtt_ca))
    with socket.create_connection((host, cloud.mqtt_port), timeout=5) as plain:
        with context.wrap_socket(plain, server_hostname=host) as secured:
            assert secured.version() in ("TLSv1.2", "TLSv1.3")
