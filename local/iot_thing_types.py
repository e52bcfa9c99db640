"""Thing types.

AWS IoT API Reference, "CreateThingType", "DeprecateThingType" and
"DeleteThingType": at most 3 searchable attributes; a type is deleted no earlier
than 5 minutes after its deprecation. The emulator takes any number and deletes
at once. That name and searchable attributes cannot change, and that a type with
things is not deleted, it has right.

`POST /_lamplighter/thing-types/age` `{name, seconds}` puts a deprecation back in
time, so that a test need not wait.
"""

from __future__ import annotations

import time
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import iot

from local import control
from local.iot_answers import invalid
from local.iot_attributes import is_attribute_name
from local.iot_routes import Response
from local.settings import ACCOUNT, REGION

MAX_SEARCHABLE = 3
DEPRECATED_SECONDS = 300


def install() -> None:
    create, handle = iot._create_thing_type, iot._handle_thing_type

    def create_thing_type(name: str, payload: dict) -> Response:
        searchable = (payload.get("thingTypeProperties") or {}).get("searchableAttributes") or []
        return _searchable_refusal(searchable) or create(name, payload)

    # CloudFormation waits the five minutes out when it deletes a type; its own way past this route need not.
    def handle_thing_type(method: str, path: str, body: bytes, qp: dict) -> Response:
        refusal = _too_early(path.removeprefix("/thing-types/")) if method == "DELETE" else None
        return refusal or handle(method, path, body, qp)

    iot._create_thing_type = create_thing_type
    iot._handle_thing_type = handle_thing_type
    control.extend("POST", "thing-types/age", _age)


def _too_early(name: str) -> Response | None:
    metadata = (iot._thing_types.get(name) or {}).get("thingTypeMetadata") or {}
    since = metadata.get("deprecationDate")
    if since is None or time.time() - since >= DEPRECATED_SECONDS:
        return None
    return invalid("ThingType must be deprecated for at least 5 minutes before deletion")


def _age(asked: dict[str, Any]) -> tuple[int, Any]:
    with request_scope(ACCOUNT, REGION):
        found = iot._thing_types.get(asked.get("name"))
        since = (found or {}).get("thingTypeMetadata", {}).get("deprecationDate")
        if since is None:
            return 404, {"message": "there is no deprecated thing type of that name"}
        found["thingTypeMetadata"]["deprecationDate"] = since - int(asked.get("seconds") or 0)
        iot._thing_types[asked["name"]] = found
    return 200, {}


def _searchable_refusal(names: list) -> Response | None:
    if len(names) > MAX_SEARCHABLE:
        return invalid(f"A thing type cannot have more than {MAX_SEARCHABLE} searchable attributes")
    wrong = next((name for name in names if not is_attribute_name(name)), None)
    return None if wrong is None else invalid(f"Searchable attribute {wrong!r} is not an attribute name")
