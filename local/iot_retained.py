"""A retained message needs a permission of its own.

AWS IoT Core Developer Guide, "AWS IoT Core policy actions" and "Retained
messages": publishing with RETAIN set, also to delete a retained message by an
empty payload, needs `iot:RetainPublish` on the topic besides `iot:Publish`. The
emulator asks for it over MQTT but not over HTTPS.
"""

from __future__ import annotations

import uuid

from ministack import app
from ministack.core import iam_actions
from ministack.core.iam_evaluator import AuthError, enforce
from ministack.core.responses import get_account_id, get_region
from ministack.services import iot_data

from local.iot_routes import Response

ACTION = "iot:RetainPublish"


def install() -> None:
    inner = iot_data._publish

    async def publish(topic: str, body: bytes, qp: dict, headers: dict, access_key: str) -> Response:
        retain = str(qp.get("retain", "")).lower() == "true"
        refusal = _refusal(topic, headers, access_key) if app.AUTH and retain else None
        return refusal or await inner(topic, body, qp, headers, access_key)

    iot_data._publish = publish


def _refusal(topic: str, headers: dict, access_key: str) -> Response | None:
    region = get_region()
    arn = f"arn:aws:iot:{region}:{get_account_id()}:topic/{topic}"
    denied = enforce(access_key, ACTION, "iot-data", region, resource_arn=arn)
    if denied is None or isinstance(denied, AuthError):
        return None
    return iam_actions.access_denied_response(
        "iot-data", ACTION, denied.principal_arn, str(uuid.uuid4()), headers=headers, resource_arn=arn,
    )
