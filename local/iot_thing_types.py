"""Thing types.

AWS IoT API Reference, "CreateThingType", "DeprecateThingType" and
"DeleteThingType": at most 3 searchable attributes; a type is deleted no earlier
than 5 minutes after its deprecation. The emulator takes any number and deletes
at once. That name and searchable attributes cannot change, and that a type with
things is not deleted, it has right.
"""

from __future__ import annotations

import time

from ministack.services import iot

from local.iot_answers import invalid
from local.iot_attributes import is_attribute_name
from local.iot_routes import Response

MAX_SEARCHABLE = 3
DEPRECATED_SECONDS = 300


def install() -> None:
    create, delete = iot._create_thing_type, iot._delete_thing_type

    def create_thing_type(name: str, payload: dict) -> Response:
        searchable = (payload.get("thingTypeProperties") or {}).get("searchableAttributes") or []
        return _searchable_refusal(searchable) or create(name, payload)

    def delete_thing_type(name: str) -> Response:
        metadata = (iot._thing_types.get(name) or {}).get("thingTypeMetadata") or {}
        since = metadata.get("deprecationDate")
        if since is not None and time.time() - since < DEPRECATED_SECONDS:
            return invalid("ThingType must be deprecated for at least 5 minutes before deletion")
        return delete(name)

    iot._create_thing_type = create_thing_type
    iot._delete_thing_type = delete_thing_type


def _searchable_refusal(names: list) -> Response | None:
    if len(names) > MAX_SEARCHABLE:
        return invalid(f"A thing type cannot have more than {MAX_SEARCHABLE} searchable attributes")
    wrong = next((name for name in names if not is_attribute_name(name)), None)
    return None if wrong is None else invalid(f"Searchable attribute {wrong!r} is not an attribute name")
