"""Secure tunnelling.

AWS IoT Secure Tunneling API Reference: a tunnel lives 1 to 720 minutes (720
without a limit) and has an access token for each side; OpenTunnel with a thing
tells the device on `$aws/things/{thingName}/tunnels/notify`; rotating a token
replaces it and does not extend the lifetime, and the device is told its new one
where the rotation names the thing, which it may not for the source alone; a
tunnel that was closed or has outlived its time is CLOSED and stays so; `delete`
removes it at once. "AWS IoT Core endpoints and quotas": OpenTunnel once a
second; to leave room for two clocks, a tenth less than a second is let pass.
CloseTunnel's same quota is for the fault layer. The emulator lacks the service.
`local.iot_tunnels_proxy` is what tokens lead to.
"""

from __future__ import annotations

import json
import re
import secrets
import time
import uuid
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core import iam_actions, router
from ministack.core.responses import error_response_json, get_account_id, get_region
from ministack.services import iot

from local import iot_stores, iot_tunnels_proxy
from local.iot_paging import page
from local.iot_routes import Response

SERVICE = "iotsecuretunneling"
TARGET_PREFIX = "IoTSecuredTunneling."
MAX_MINUTES = 720
MAX_PAGE = 100

_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")

_TUNNELS = iot_stores.new_store()
# When OpenTunnel was last let pass.
_LAST = iot_stores.new_store()
INTERVAL = 0.9

# Who may connect as which side: the members of an answer by client mode.
_TOKENS = {"SOURCE": ("source",), "DESTINATION": ("destination",), "ALL": ("source", "destination")}


class Refused(Exception):
    """A refusal by its name in the service's model, or the AWS JSON protocol's own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def install() -> None:
    router.SERVICE_PATTERNS[SERVICE] = {"target_prefixes": [TARGET_PREFIX], "host_patterns": []}
    iam_actions.SERVICE_TO_IAM_NAMESPACE[SERVICE] = "iot"
    app.SERVICE_HANDLERS[SERVICE] = handle_request


async def handle_request(_method: str, _path: str, headers: dict, body: bytes, _query: dict) -> Response:
    operation = _OPERATIONS.get(headers.get("x-amz-target", "").removeprefix(TARGET_PREFIX))
    if operation is None:
        return error_response_json("UnknownOperationException", "Unknown operation", 400)
    payload = iot._parse_body(body)
    try:
        answer = operation(payload)
    except Refused as refused:
        return error_response_json(refused.code, str(refused), 400)
    if "destinationAccessToken" in answer:
        await _notify(payload, answer)
    return 200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(answer).encode()


def _open(payload: dict[str, Any]) -> dict[str, Any]:
    minutes = (payload.get("timeoutConfig") or {}).get("maxLifetimeTimeoutMinutes", MAX_MINUTES)
    if not isinstance(minutes, int) or not 1 <= minutes <= MAX_MINUTES:
        raise Refused("ValidationException", f"maxLifetimeTimeoutMinutes must be between 1 and {MAX_MINUTES}")
    destination = _destination(payload)
    if time.time() - _LAST.get("OpenTunnel", 0) < INTERVAL:
        raise Refused("ThrottlingException", "Rate exceeded")
    _LAST["OpenTunnel"] = time.time()
    tunnel_id, now = str(uuid.uuid4()), time.time()
    _TUNNELS[tunnel_id] = {
        "tunnelId": tunnel_id,
        "tunnelArn": f"arn:aws:iot:{get_region()}:{get_account_id()}:tunnel/{tunnel_id}",
        "status": "OPEN",
        "sourceConnectionState": {"status": "DISCONNECTED", "lastUpdatedAt": now},
        "destinationConnectionState": {"status": "DISCONNECTED", "lastUpdatedAt": now},
        "timeoutConfig": {"maxLifetimeTimeoutMinutes": minutes},
        "tags": list(payload.get("tags") or []),
        "createdAt": now,
        "lastUpdatedAt": now,
        **({"description": payload["description"]} if payload.get("description") else {}),
        **({"destinationConfig": destination} if destination else {}),
    }
    tunnel = _TUNNELS[tunnel_id]
    return {"tunnelId": tunnel_id, "tunnelArn": tunnel["tunnelArn"], **_new_tokens(tunnel, "ALL")}


def _destination(payload: dict[str, Any]) -> dict[str, Any] | None:
    destination = payload.get("destinationConfig")
    if destination is None:
        return None
    services, thing = destination.get("services") or [], destination.get("thingName")
    if not services or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in services):
        raise Refused("ValidationException", "destinationConfig.services must name at least one service")
    if thing is not None and not _NAME.fullmatch(thing):
        raise Refused("ValidationException", "destinationConfig.thingName must match [a-zA-Z0-9:_-]{1,128}")
    return destination


def _new_tokens(tunnel: dict[str, Any], mode: str) -> dict[str, str]:
    tokens = {side: f"AQGA{secrets.token_urlsafe(48)}" for side in _TOKENS[mode]}
    for side, token in tokens.items():
        iot_tunnels_proxy.admit(tunnel, side, token)
    return {f"{side}AccessToken": token for side, token in tokens.items()}


async def _notify(payload: dict[str, Any], answer: dict[str, Any]) -> None:
    destination = payload.get("destinationConfig") or {}
    if destination.get("thingName"):
        message = {
            "clientAccessToken": answer["destinationAccessToken"],
            "clientMode": "destination",
            "region": get_region(),
            "services": destination["services"],
        }
        topic = f"$aws/things/{destination['thingName']}/tunnels/notify"
        await iot.broker_publish(get_account_id(), get_region(), topic, json.dumps(message).encode(), qos=1)


def _known(tunnel_id: Any) -> dict[str, Any]:
    tunnel = _TUNNELS.get(tunnel_id)
    if tunnel is None:
        raise Refused("ResourceNotFoundException", f"Tunnel {tunnel_id} not found")
    lifetime = tunnel["timeoutConfig"]["maxLifetimeTimeoutMinutes"] * 60
    if tunnel["status"] == "OPEN" and time.time() >= tunnel["createdAt"] + lifetime:
        tunnel |= {"status": "CLOSED", "lastUpdatedAt": tunnel["createdAt"] + lifetime}
    return tunnel


def _describe(payload: dict[str, Any]) -> dict[str, Any]:
    return {"tunnel": _known(payload.get("tunnelId"))}


def _list(payload: dict[str, Any]) -> dict[str, Any]:
    limit = payload.get("maxResults", MAX_PAGE)
    if not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise Refused("ValidationException", f"maxResults must be between 1 and {MAX_PAGE}")
    thing = payload.get("thingName")
    tunnels = [_known(tunnel_id) for tunnel_id in list(_TUNNELS)]
    wanted = [
        tunnel for tunnel in tunnels if thing in (None, (tunnel.get("destinationConfig") or {}).get("thingName"))
    ]
    # The model allows no `+` and `/` in this token, so the shared page's token is given another alphabet.
    token = (payload.get("nextToken") or "").translate(str.maketrans("-_", "+/"))
    try:
        shown, following = page(wanted, lambda one: [one["createdAt"], one["tunnelId"]], limit, token, reverse=True)
    except ValueError:
        raise Refused("ValidationException", "nextToken is not valid") from None
    members = ("tunnelId", "tunnelArn", "status", "description", "createdAt", "lastUpdatedAt")
    answer: dict[str, Any] = {
        "tunnelSummaries": [{key: one[key] for key in members if key in one} for one in shown],
    }
    if following:
        answer["nextToken"] = following.translate(str.maketrans("+/", "-_"))
    return answer


def _close(payload: dict[str, Any]) -> dict[str, Any]:
    tunnel = _known(payload.get("tunnelId"))
    if tunnel["status"] == "OPEN":
        tunnel |= {"status": "CLOSED", "lastUpdatedAt": time.time()}
    iot_tunnels_proxy.close(tunnel)
    if payload.get("delete"):
        del _TUNNELS[tunnel["tunnelId"]]
    return {}


def _rotate(payload: dict[str, Any]) -> dict[str, Any]:
    tunnel = _known(payload.get("tunnelId"))
    mode = payload.get("clientMode")
    if mode not in _TOKENS:
        raise Refused("ValidationException", "clientMode must be SOURCE, DESTINATION or ALL")
    if tunnel["status"] != "OPEN":
        raise Refused("ResourceNotFoundException", f"Tunnel {tunnel['tunnelId']} is closed")
    destination = _destination(payload)
    if destination and mode == "SOURCE":
        raise Refused("ValidationException", "destinationConfig cannot be used with clientMode SOURCE")
    if destination:
        tunnel["destinationConfig"] = destination
    tunnel["lastUpdatedAt"] = time.time()
    return {"tunnelArn": tunnel["tunnelArn"], **_new_tokens(tunnel, mode)}


def _tag(payload: dict[str, Any]) -> dict[str, Any]:
    tunnel = _tagged(payload)
    tags = {**_tags_of(tunnel), **{tag["key"]: tag["value"] for tag in payload.get("tags") or []}}
    tunnel["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
    return {}


def _untag(payload: dict[str, Any]) -> dict[str, Any]:
    tunnel = _tagged(payload)
    tunnel["tags"] = [tag for tag in tunnel["tags"] if tag["key"] not in (payload.get("tagKeys") or [])]
    return {}


def _list_tags(payload: dict[str, Any]) -> dict[str, Any]:
    return {"tags": _tagged(payload)["tags"]}


def _tagged(payload: dict[str, Any]) -> dict[str, Any]:
    return _known((payload.get("resourceArn") or "").rpartition(":tunnel/")[2])


def _tags_of(tunnel: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in tunnel["tags"]}


_OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "OpenTunnel": _open,
    "DescribeTunnel": _describe,
    "ListTunnels": _list,
    "CloseTunnel": _close,
    "RotateTunnelAccessToken": _rotate,
    "TagResource": _tag,
    "UntagResource": _untag,
    "ListTagsForResource": _list_tags,
}
