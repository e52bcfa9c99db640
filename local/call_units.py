"""What a request takes, in the units that AWS prices.

AWS rules: "DynamoDB read and write operations" (Developer Guide): an item costs a
write unit for each kilobyte, and a consistent read of it a read unit for each
four, begun ones included; half of that if it is not consistent, twice in a
transaction, where a condition that is only checked is a write. What is counted
is an upper bound: an item's JSON is longer than the item. An item that is read,
updated or deleted by its key is taken as one unit's, since it is not in the
request. "Amazon EventBridge pricing": each entry of a request is an event.
"""

from __future__ import annotations

import json
import math
from typing import Any

WRITTEN = 1024


def write_units(operation: str, body: bytes) -> int:
    """How many of DynamoDB's a request writes that is not refused."""
    match operation:
        case "PutItem":
            return _of_put(json.loads(body))
        case "UpdateItem" | "DeleteItem":
            return 1
        case "TransactWriteItems":
            return sum(2 * _of_action(action) for action in json.loads(body)["TransactItems"])
        case "BatchWriteItem":
            tables = json.loads(body)["RequestItems"].values()
            return sum(_of_put(each["PutRequest"]) if "PutRequest" in each else 1 for table in tables for each in table)
        case _:
            return 0


def read_units(operation: str, body: bytes) -> float:
    """How many of DynamoDB's a request reads; of a query, a page of one unit's."""
    match operation:
        case "GetItem" | "Query" | "Scan":
            return _consistent(json.loads(body))
        case "TransactGetItems":
            return 2.0 * len(json.loads(body)["TransactItems"])
        case "BatchGetItem":
            tables = json.loads(body)["RequestItems"].values()
            return sum(_consistent(table) * len(table["Keys"]) for table in tables)
        case _:
            return 0.0


def events(operation: str, body: bytes) -> int:
    """How many a request puts on a bus."""
    return len(json.loads(body)["Entries"]) if operation == "PutEvents" else 0


def _of_action(action: dict[str, Any]) -> int:
    return _of_put(action["Put"]) if "Put" in action else 1


def _of_put(put: dict[str, Any]) -> int:
    return math.ceil(len(json.dumps(put["Item"], separators=(",", ":"))) / WRITTEN)


def _consistent(request: dict[str, Any]) -> float:
    return 1.0 if request.get("ConsistentRead") else 0.5
