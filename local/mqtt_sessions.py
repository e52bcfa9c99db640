"""Ending a live MQTT session from the server's side."""

from __future__ import annotations

import asyncio
import contextlib

from ministack.services import iot

NOT_AUTHORIZED = iot.RC5_NOT_AUTHORIZED
ADMINISTRATIVE_ACTION = 0x98

# A client that reads nothing any more must not hold the server up.
_PATIENCE_SECONDS = 1.0


def live_session(account_id: str, region: str, client_id: str) -> iot._WSSession | None:
    return iot._connected_clients.get((account_id, region, client_id))


async def end(session: iot._WSSession, reason: str, reason_code: int) -> None:
    """Close the connection and publish the presence event with this `disconnectReason`.

    Only MQTT 5 lets the server say why; a 3.1.1 client sees its connection close.
    The peer may already be gone, so what it can no longer be told is left unsaid.
    """
    session._forced_disconnect_reason = reason
    with contextlib.suppress(OSError, RuntimeError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            if session.protocol_version == iot.MQTT_5:
                await session.send_bytes(iot._make_disconnect(reason_code))
            await session._send({"type": "websocket.close", "code": 1000})
    await session.cleanup()
