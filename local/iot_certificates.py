"""The states a certificate can be put in, and which certificates are taken.

AWS IoT API Reference, "UpdateCertificate": only ACTIVE, INACTIVE and REVOKED can
be set; PENDING_TRANSFER and PENDING_ACTIVATION are refused and
REGISTER_INACTIVE is retired. Developer Guide, "Revoke a client certificate": the
status of a revoked certificate can't be changed any more. "X.509 client
certificates": keys of RSA from 2,048 bits or of the NIST curves P-256, P-384 and
P-521, signed with SHA-256, SHA-384 or SHA-512.

The emulator sets any state at any time and registers any certificate. Its rules
for DeleteCertificate (not ACTIVE, no things, no policies unless `forceDelete`)
and the rest of RegisterCertificateWithoutCA (the id is the SHA-256 of the
certificate, a second registration is a ResourceAlreadyExistsException that names
it, the mode is SNI_ONLY) are AWS's own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from ministack.services import iot

from local.iot_answers import certificate_invalid, certificate_state, invalid
from local.iot_routes import Response

SETTABLE = ("ACTIVE", "INACTIVE", "REVOKED")
CURVES = ("secp256r1", "secp384r1", "secp521r1")
DIGESTS = ("sha256", "sha384", "sha512")
LEAST_RSA_BITS = 2048


def install() -> None:
    handle, register = iot._handle_certificate, iot._register_certificate

    def handle_certificate(method: str, path: str, body: bytes, qp: dict) -> Response:
        refusal = _update_refusal(path, qp.get("newStatus")) if method == "PUT" else None
        return refusal or handle(method, path, body, qp)

    async def register_certificate(payload: dict, qp: dict, *, without_ca: bool = False) -> Response:
        refusal = _registration_refusal(payload)
        return refusal or await register(payload, qp, without_ca=without_ca)

    # For each certificate the emulator reads its authority's key, and proves the
    # primes anew: longer work than all else of the call.
    serialization.load_pem_private_key = lru_cache(maxsize=8)(serialization.load_pem_private_key)
    iot._handle_certificate = handle_certificate
    iot._register_certificate = register_certificate


def _update_refusal(path: str, status: str | None) -> Response | None:
    if status is None:
        return None
    if status not in SETTABLE:
        return invalid(f"The status of a certificate cannot be set to {status}")
    certificate = iot._certificates.get(path.removeprefix("/certificates/")) or {}
    if certificate.get("status") == "REVOKED" and status != "REVOKED":
        return certificate_state("The status of a revoked certificate cannot be changed")
    return None


def _registration_refusal(payload: dict[str, Any]) -> Response | None:
    status = payload.get("status")
    if status not in (None, *SETTABLE, "PENDING_ACTIVATION"):
        return invalid(f"A certificate cannot be registered as {status}")
    try:
        certificate = x509.load_pem_x509_certificate((payload.get("certificatePem") or "").encode())
        digest = certificate.signature_hash_algorithm
        key = certificate.public_key()
    except Exception:
        # The emulator says what is wrong with what is no certificate.
        return None
    if digest is None or digest.name not in DIGESTS:
        return certificate_invalid("The certificate's signature algorithm is not supported")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= LEAST_RSA_BITS:
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return None
    return certificate_invalid("The certificate's key is not supported")
