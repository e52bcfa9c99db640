"""A key does what it was made for.

AWS KMS API Reference, "Sign", "Encrypt", "GenerateDataKey": a key whose
`KeyUsage` is another is an InvalidKeyUsageException; a RAW message has 4,096
bytes at most. "GetPublicKey": not of a disabled key. "CreateKey": elliptic
curves sign or agree, and never encrypt. "EnableKeyRotation" and
"GetKeyRotationStatus": not of an asymmetric key (UnsupportedOperationException).

The emulator answers UnsupportedOperationException or does as it is told. Its
signatures (DER, over a digest or a message) and public keys (DER,
SubjectPublicKeyInfo) are AWS's own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import kms

Response = tuple[int, dict[str, str], bytes]
Check = Callable[[dict[str, Any], dict[str, Any]], Response | None]

MOST_RAW_BYTES = 4096
CURVE_USAGES = ("SIGN_VERIFY", "KEY_AGREEMENT")


def install() -> None:
    for name, usage in (
        ("Sign", "SIGN_VERIFY"), ("Verify", "SIGN_VERIFY"), ("Encrypt", "ENCRYPT_DECRYPT"), ("Decrypt", "ENCRYPT_DECRYPT"),
        ("GenerateDataKey", "ENCRYPT_DECRYPT"), ("GenerateDataKeyWithoutPlaintext", "ENCRYPT_DECRYPT"),
    ):
        _before(name, _used_for(name, usage))
    _before("Sign", _message_refusal)
    _before("GetPublicKey", lambda key, _request: kms._check_key_state(key))
    for name in ("EnableKeyRotation", "DisableKeyRotation", "GetKeyRotationStatus"):
        _before(name, _rotation_refusal)
    create = kms._create_key
    kms._create_key = lambda request: _creation_refusal(request) or create(request)


def _before(operation: str, check: Check) -> None:
    """Let a check of the key and the request come first. A key that is not there is the emulator's to tell."""
    name = "_" + "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in operation).lstrip("_")
    inner = getattr(kms, name)

    def checked(request: dict[str, Any]) -> Response:
        key = kms._resolve_key(request.get("KeyId") or "") if request.get("KeyId") else None
        return (check(key, request) if key else None) or inner(request)

    setattr(kms, name, checked)


def _used_for(operation: str, usage: str) -> Check:
    def refusal(key: dict[str, Any], _request: dict[str, Any]) -> Response | None:
        if key["KeyUsage"] == usage:
            return None
        return error_response_json(
            "InvalidKeyUsageException", f"{key['Arn']} key usage is {key['KeyUsage']} which is not valid for {operation}.", 400)

    return refusal


def _message_refusal(_key: dict[str, Any], request: dict[str, Any]) -> Response | None:
    if request.get("MessageType", "RAW") != "RAW" or len(base64.b64decode(request.get("Message") or "")) <= MOST_RAW_BYTES:
        return None
    return error_response_json(
        "ValidationException", "1 validation error detected: Value at 'message' failed to satisfy constraint: "
        f"Member must have length less than or equal to {MOST_RAW_BYTES}", 400)


def _rotation_refusal(key: dict[str, Any], _request: dict[str, Any]) -> Response | None:
    if key.get("KeySpec", "SYMMETRIC_DEFAULT") == "SYMMETRIC_DEFAULT":
        return None
    return error_response_json("UnsupportedOperationException", f"{key['Arn']} is not a symmetric encryption key.", 400)


def _creation_refusal(request: dict[str, Any]) -> Response | None:
    spec = request.get("KeySpec") or request.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
    usage = request.get("KeyUsage", "ENCRYPT_DECRYPT")
    if (usage in CURVE_USAGES) if spec.startswith("ECC_") else (spec != "SYMMETRIC_DEFAULT" or usage == "ENCRYPT_DECRYPT"):
        return None
    return error_response_json("ValidationException", f"KeyUsage {usage} is not compatible with KeySpec {spec}", 400)
