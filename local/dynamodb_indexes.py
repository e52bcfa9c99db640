"""An index gives what is projected into it, and refuses the rest.

AWS rule restored: "Using Global Secondary Indexes in DynamoDB", "Attribute
projections": a Query or Scan of a global secondary index can ask for projected
attributes only, and for ALL_ATTRIBUTES only where all are projected; anything
else is a ValidationException. In the emulator what is not projected is just
missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import dynamodb

Response = tuple[int, dict[str, str], bytes]


def install() -> None:
    dynamodb._query = _checked(dynamodb._query)
    dynamodb._scan = _checked(dynamodb._scan)


def _checked(read: Callable[[dict[str, Any]], Response]) -> Callable[[dict[str, Any]], Response]:
    def checked(request: dict[str, Any]) -> Response:
        reason = _refusal(request)
        if reason is None:
            return read(request)
        return error_response_json("ValidationException", f"One or more parameter values were invalid: {reason}", 400)

    return checked


def _refusal(request: dict[str, Any]) -> str | None:
    table = dynamodb._tables.get(str(request.get("TableName")).rsplit("/", 1)[-1]) or {}
    name = request.get("IndexName")
    index = next((each for each in table.get("GlobalSecondaryIndexes") or [] if each["IndexName"] == name), None)
    if index is None or index["Projection"]["ProjectionType"] == "ALL":
        return None
    if request.get("Select") == "ALL_ATTRIBUTES":
        return (f"Select type ALL_ATTRIBUTES is not supported for global secondary index {name}"
                " because its projection type is not ALL")
    projected = {key["AttributeName"] for schema in (table["KeySchema"], index["KeySchema"]) for key in schema}
    projected |= set(index["Projection"].get("NonKeyAttributes") or [])
    missing = [attribute for attribute in _asked_for(request) if attribute not in projected]
    return f"Global secondary index {name} does not project [{', '.join(missing)}]" if missing else None


def _asked_for(request: dict[str, Any]) -> list[str]:
    """The top-level attributes that the request's projection names."""
    names = request.get("ExpressionAttributeNames") or {}
    paths = [path.strip() for path in (request.get("ProjectionExpression") or "").split(",") if path.strip()]
    heads = [path.split(".")[0].split("[")[0] for path in paths]
    return [names.get(head, head) for head in heads]
