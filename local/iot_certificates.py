"""The states a certificate can be put in.

AWS IoT API Reference, "UpdateCertificate": only ACTIVE, INACTIVE and REVOKED can
be set; PENDING_TRANSFER and PENDING_ACTIVATION are refused and
REGISTER_INACTIVE is retired. The emulator sets any. Its rules for
DeleteCertificate (not ACTIVE, no things, no policies unless `forceDelete`) are
AWS's own.
"""

from __future__ import annotations

from ministack.services import iot

from local.iot_answers import invalid
from local.iot_routes import Response

SETTABLE = ("ACTIVE", "INACTIVE", "REVOKED")


def install() -> None:
    inner = iot._handle_certificate

    def handle_certificate(method: str, path: str, body: bytes, qp: dict) -> Response:
        status = qp.get("newStatus")
        if method == "PUT" and status is not None and status not in SETTABLE:
            return invalid(f"The status of a certificate cannot be set to {status}")
        return inner(method, path, body, qp)

    iot._handle_certificate = handle_certificate
