"""A role can be confined to rows by their partition keys.

AWS rule restored: "Using IAM policy conditions for fine-grained access
control", `dynamodb:LeadingKeys`: the partition keys that a request names. The
emulator evaluates policies without it, and a `ForAllValues` condition on an
absent key holds, so that such a role reaches every row. In a transaction each
item is judged by its own key.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb

LEADING_KEYS = "dynamodb:LeadingKeys"
COMPARISON = re.compile(r"([#\w]+)\s*=\s*(:\w+)|(:\w+)\s*=\s*([#\w]+)")


class KeyedArn(str):
    """The ARN of a transaction item's table that also tells the item's partition key."""

    leading_keys: list[str]


def leading_keys(request: dict[str, Any]) -> list[str]:
    """The partition keys that a request of one table, or of a batch, names."""
    if isinstance(batch := request.get("RequestItems"), dict):
        return [key for table, entries in batch.items() for key in _batch_keys(table, entries)]
    name = _partition_key(request.get("TableName"), request.get("IndexName"))
    if name is None:
        return []
    for member in ("Key", "Item"):
        if isinstance(item := request.get(member), dict) and name in item:
            return [_text(item[name])]
    if expression := request.get("KeyConditionExpression"):
        return _queried_keys(name, expression, request)
    return []


def _batch_keys(table: str, entries: Any) -> list[str]:
    name = _partition_key(table, None)
    if isinstance(entries, dict):
        items = entries.get("Keys", [])
    else:
        items = [body.get("Key") or body.get("Item") or {} for entry in entries for body in entry.values()]
    return [_text(item[name]) for item in items if name in item]


def _queried_keys(name: str, expression: str, request: dict[str, Any]) -> list[str]:
    names = request.get("ExpressionAttributeNames") or {}
    values = request.get("ExpressionAttributeValues") or {}
    return [
        _text(values[match[2] or match[3]])
        for match in COMPARISON.finditer(expression)
        if names.get(match[1] or match[4], match[1] or match[4]) == name and (match[2] or match[3]) in values
    ]


def _partition_key(table: Any, index: str | None) -> str | None:
    record = dynamodb._tables.get(str(table).rsplit("/", 1)[-1])
    if record is None:
        return None
    schema = record["KeySchema"]
    for candidate in record["GlobalSecondaryIndexes"] or []:
        if candidate["IndexName"] == index:
            schema = candidate["KeySchema"]
    return next(key["AttributeName"] for key in schema if key["KeyType"] == "HASH")


def _text(value: dict[str, Any]) -> str:
    return str(next(iter(value.values())))


def _service_context(body: bytes) -> dict[str, Any]:
    context = _emulator_service_context(body)
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return context
    if isinstance(request, dict) and (keys := leading_keys(request)):
        context[LEADING_KEYS] = keys
    return context


def _transaction_checks(action: str, body: bytes, region: str, account: str) -> list[tuple[str, str]]:
    checks = _emulator_transaction_checks(action, body, region, account)
    if not checks:
        return checks
    # The emulator lists the members in this same order.
    members = [member for item in json.loads(body)["TransactItems"] for member in item.values()]
    keyed = []
    for (item_action, arn), member in zip(checks, members, strict=True):
        keyed_arn = KeyedArn(arn)
        keyed_arn.leading_keys = leading_keys(member)
        keyed.append((item_action, keyed_arn))
    return keyed


def _enforce(access_key: str, action: str, service: str, region: str, resource_arn: str = "*",
             service_context: dict[str, Any] | None = None) -> Any:
    if isinstance(resource_arn, KeyedArn) and resource_arn.leading_keys:
        service_context = {**(service_context or {}), LEADING_KEYS: resource_arn.leading_keys}
    return _emulator_enforce(access_key, action, service, region, resource_arn=resource_arn,
                             service_context=service_context)


def install() -> None:
    """Add the key to what each request is evaluated with."""
    global _emulator_enforce
    _emulator_enforce = iam_evaluator.enforce
    iam_actions.dynamodb_service_context = _service_context
    iam_actions.dynamodb_transaction_checks = _transaction_checks
    iam_evaluator.enforce = _enforce


_emulator_enforce = iam_evaluator.enforce
_emulator_service_context = iam_actions.dynamodb_service_context
_emulator_transaction_checks = iam_actions.dynamodb_transaction_checks
