"""Which certificates an MQTT connection may live on.

AWS IoT Core Developer Guide, "X.509 client certificates" and "Transport
security in AWS IoT Core": a device must present a client certificate, it must
be registered and ACTIVE to connect, and a connection does not outlive it: once
the certificate is deactivated, revoked, deleted, or detached from the thing the
connection belongs to, the device is disconnected.

The emulator serves a client without a certificate and leaves a live session
alone. AWS takes minutes to disconnect; here it is a fraction of a second, so
that a test need not wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl

from ministack.core.responses import request_scope
from ministack.services import iot

from local import mqtt_sessions
from local.iot_principals import is_attached

_LOOK_EVERY_SECONDS = 0.25

_logger = logging.getLogger("mqtt_certificates")
_watcher: asyncio.Task[None] | None = None


def install() -> None:
    build_context, start, stop = iot._mtls_build_ssl_context, iot.mtls_start, iot.mtls_stop

    def build() -> ssl.SSLContext:
        context = build_context()
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def mtls_start() -> None:
        global _watcher
        await start()
        _watcher = asyncio.create_task(_watch())

    async def mtls_stop() -> None:
        if _watcher is not None:
            _watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await _watcher
        await stop()

    iot._mtls_build_ssl_context = build
    iot.mtls_start = mtls_start
    iot.mtls_stop = mtls_stop


async def _watch() -> None:
    while True:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        for session in list(iot._connected_clients.values()):
            try:
                if not _may_live(session):
                    await mqtt_sessions.end(session, "AUTH_ERROR", mqtt_sessions.NOT_AUTHORIZED)
            except Exception:
                # One broken session must not end the watch over the others.
                _logger.exception("could not end the session of client %s", session._client_id)


def _may_live(session: iot._WSSession) -> bool:
    if session.certificate_id is None or session.provisioning_template is not None:
        return True
    with request_scope(session.account_id, session.region):
        certificate = iot._certificates.get(session.certificate_id)
        thing = session._policy_context.get("iot:connection.thing.thingname")
        return (
            certificate is not None
            and certificate["status"] == "ACTIVE"
            and (thing is None or is_attached(certificate, thing))
        )
