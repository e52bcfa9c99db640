"""MQTT over WebSocket needs a signature.

AWS IoT Core Developer Guide, "Device communication protocols": MQTT over
WebSocket is authenticated by Signature Version 4 (or a custom authorizer); an
upgrade without either is answered 403. The emulator serves it under the default
account.
"""

from __future__ import annotations

from ministack import app
from ministack.core.iam_evaluator import AuthError, ResolvedCredential
from ministack.services import iot


def install() -> None:
    inner = iot._ws_handshake_check

    def check(scope: dict) -> AuthError | ResolvedCredential | None:
        checked = inner(scope)
        if checked is None and app.AUTH:
            return AuthError("MissingAuthenticationToken", "Missing Authentication Token")
        return checked

    iot._ws_handshake_check = check
