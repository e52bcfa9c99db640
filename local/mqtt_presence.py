"""Lifecycle events name the thing of an exclusive attachment.

AWS IoT Core Developer Guide, "Lifecycle events": `thingName` is included in the
connect, disconnect, subscribe and unsubscribe messages if the client connects
with a certificate attached to its thing exclusively, and only then. The rest of
these events the emulator publishes as AWS does, and they are always on.
"""

from __future__ import annotations

from typing import Any

from ministack.core.responses import request_scope
from ministack.services import iot

from local.iot_principals import exclusive_thing


def install() -> None:
    inner = iot._WSSession._publish_lifecycle

    async def publish(session: iot._WSSession, event_type: str, **fields: Any) -> None:
        if event_type == "connected":
            session.exclusive_thing = _thing_of(session)
        # The disconnect message still names it when the thing is gone by then.
        name = getattr(session, "exclusive_thing", None)
        await inner(session, event_type, **({"thingName": name} if name else {}), **fields)

    iot._WSSession._publish_lifecycle = publish


def _thing_of(session: iot._WSSession) -> str | None:
    if session.certificate_id is None:
        return None
    with request_scope(session.account_id, session.region):
        certificate = iot._certificates.get(session.certificate_id)
        return exclusive_thing(certificate) if certificate else None
