"""Policies can demand an encryption context and the service a key is used through.

AWS rules restored: "AWS KMS condition keys", `kms:EncryptionContext:<key>`,
`kms:EncryptionContextKeys`, `kms:ViaService`, `kms:CallerAccount`. The
emulator evaluates policies on keys without them, so that a statement with
such a condition never applies.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import get_account_id


def kms_context(encryption_context: dict[str, str], via_service: str | None = None) -> dict[str, Any]:
    """The condition keys of one use of a key. A key that the request lacks has no value."""
    keys: dict[str, Any] = {"kms:CallerAccount": get_account_id()}
    for name, value in encryption_context.items():
        keys[f"kms:EncryptionContext:{name}".lower()] = value
    if encryption_context:
        keys["kms:EncryptionContextKeys"] = list(encryption_context)
    if via_service is not None:
        keys["kms:ViaService"] = via_service
    return keys


def _request_context(service: str, action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
    context = _emulator_request_context(service, action, body, params)
    if service == "kms":
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            request = {}
        context = {**context, **kms_context(request.get("EncryptionContext") or {})}
    return context


def install() -> None:
    """Add the keys to what each KMS request is evaluated with."""
    iam_actions.request_tag_context = _request_context


_emulator_request_context = iam_actions.request_tag_context
