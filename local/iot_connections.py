"""Connections as the data plane sees them.

AWS IoT API Reference, "DeleteConnection" and "GetConnection": DeleteConnection
closes a client's connection (`disconnectReason` API_INITIATED_DISCONNECT);
`cleanSession` also drops its persistent session, `preventWillMessage` holds its
last will back; a client id that has neither a connection nor a session is a
ResourceNotFoundException. The emulator has neither operation.
"""

from __future__ import annotations

from ministack.core.responses import get_account_id, get_region, json_response
from ministack.services import iot

from local import iot_routes, mqtt_sessions
from local.iot_answers import invalid, not_found
from local.iot_routes import Request, Response

API_INITIATED = "API_INITIATED_DISCONNECT"


def install() -> None:
    iot_routes.data("DELETE", "/connections/{client_id+}", _delete_connection)
    iot_routes.data("GET", "/connections/{client_id+}", _get_connection)


async def _delete_connection(request: Request, client_id: str) -> Response:
    if client_id.startswith("$"):
        return invalid("The client ID can't start with a dollar sign")
    key = (get_account_id(), get_region(), client_id)
    clean = iot._qp_bool(request.query, "cleanSession")
    session = mqtt_sessions.live_session(*key)
    if session is None and not (clean and key in iot._persistent_sessions):
        return not_found(f"No connection of client {client_id}")
    if session is not None:
        session._persist_session = session._persist_session and not clean
        if iot._qp_bool(request.query, "preventWillMessage"):
            session._will_topic = None
        await mqtt_sessions.end(session, API_INITIATED, mqtt_sessions.ADMINISTRATIVE_ACTION)
    if clean:
        iot._persistent_sessions.pop(key, None)
    return json_response({})


def _get_connection(_request: Request, client_id: str) -> Response:
    key = (get_account_id(), get_region(), client_id)
    session = mqtt_sessions.live_session(*key)
    last = iot._connectivity.get(key)
    if last is None:
        return not_found(f"No connection of client {client_id}")
    answer = {"clientId": client_id, "connected": session is not None}
    if session is None:
        return json_response({
            **answer, "disconnectedSince": last["timestamp"], "disconnectReason": last["disconnectReason"],
        })
    thing = session._policy_context.get("iot:connection.thing.thingname")
    return json_response({
        **answer,
        "connectedSince": last["timestamp"],
        "cleanSession": not session._persist_session,
        **({"thingName": thing} if thing else {}),
    })
