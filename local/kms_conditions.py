"""Policies can demand how a key is used: encryption context, service, algorithm, alias.

AWS rules restored: "AWS KMS condition keys", `kms:EncryptionContext:<key>`,
`kms:EncryptionContextKeys`, `kms:ViaService`, `kms:CallerAccount`,
`kms:SigningAlgorithm`, `kms:MessageType`, `kms:KeySpec`, `kms:KeyUsage`,
`kms:RequestAlias`, `kms:ResourceAliases`. The emulator evaluates policies on
keys without them, so that a statement with such a condition never applies.

"Using aliases in your applications" and "Controlling access to aliases": whoever
names a key by its alias needs the permission on the key. The emulator asks for
it on the alias.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import get_account_id
from ministack.services import kms

# What these do to an alias they need on the alias, too; they name the key another way.
OF_ALIASES = ("CreateAlias", "UpdateAlias", "DeleteAlias")


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
        context = {**context, **kms_context(request.get("EncryptionContext") or {}), **_use_context(request)}
    return context


def _use_context(request: dict[str, Any]) -> dict[str, Any]:
    """The condition keys of the request's own members, and of the key that it names."""
    key = kms._resolve_key(request["KeyId"]) if request.get("KeyId") else None
    named = (request.get("KeyId") or "").rsplit(":", 1)[-1]
    context = {
        "kms:SigningAlgorithm": request.get("SigningAlgorithm"),
        "kms:MessageType": request.get("MessageType", "RAW" if "SigningAlgorithm" in request else None),
        "kms:KeySpec": (key or request).get("KeySpec"),
        "kms:KeyUsage": (key or request).get("KeyUsage"),
        "kms:RequestAlias": named if named.startswith("alias/") else None,
        "kms:ResourceAliases": _aliases(key) if key else None,
    }
    return {name: value for name, value in context.items() if value}


def _aliases(key: dict[str, Any]) -> list[str]:
    return [name for name in list(kms._aliases) if (found := kms._resolve_key(name)) and found["Arn"] == key["Arn"]]


def _extract_resource_arn(service: str, method: str, path: str, headers: dict, body: bytes, *rest: Any) -> str:
    arn = _emulator_resource_arn(service, method, path, headers, body, *rest)
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    if service == "kms" and ":alias/" in arn and operation not in OF_ALIASES:
        key = kms._resolve_key(arn)
        return key["Arn"] if key else arn
    return arn


def install() -> None:
    """Add the keys to what each KMS request is evaluated with."""
    iam_actions.request_tag_context = _request_context
    iam_actions.extract_resource_arn = _extract_resource_arn


_emulator_request_context = iam_actions.request_tag_context
_emulator_resource_arn = iam_actions.extract_resource_arn
