"""Things: attributes, types and versions.

AWS IoT API Reference, "CreateThing" and "UpdateThing"; Developer Guide, "Thing
types": a thing without a type has at most 3 attributes, with one at most 50; no
thing takes a deprecated type; UpdateThing with an `expectedVersion` that is not
the thing's is a VersionConflictException; a refused update changes nothing.
Repeating CreateThing with the same configuration succeeds, with another it is a
ResourceAlreadyExistsException, which the emulator has right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.services import iot

from local.iot_answers import invalid, version_conflict
from local.iot_attributes import attributes_refusal
from local.iot_routes import Response

MAX_ATTRIBUTES_WITHOUT_TYPE = 3
MAX_ATTRIBUTES_WITH_TYPE = 50


def install() -> None:
    create, update = iot._create_thing, iot._update_thing

    def create_thing(name: str, payload: dict) -> Response:
        attributes = (payload.get("attributePayload") or {}).get("attributes") or {}
        refusal = _refusal(attributes, payload.get("thingTypeName"), type_is_new=name not in iot._things)
        return refusal or create(name, payload)

    def update_thing(name: str, payload: dict) -> Response:
        thing = iot._things.get(name)
        return (_update_refusal(thing, payload) if thing else None) or update(name, payload)

    iot._create_thing = create_thing
    iot._update_thing = update_thing


def _update_refusal(thing: Mapping[str, Any], payload: Mapping[str, Any]) -> Response | None:
    expected = payload.get("expectedVersion")
    if expected is not None and expected != thing.get("version", 1):
        return version_conflict(f"The version for thing {thing['thingName']} does not match the expected version.")
    old_type = thing.get("thingTypeName")
    new_type = None if payload.get("removeThingType") else payload.get("thingTypeName") or old_type
    return _refusal(_attributes_after(thing, payload), new_type, type_is_new=new_type != old_type)


def _attributes_after(thing: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    if "attributePayload" not in payload:
        return dict(thing.get("attributes") or {})
    change = payload["attributePayload"] or {}
    before = thing.get("attributes") or {} if change.get("merge") else {}
    merged = {**before, **(change.get("attributes") or {})}
    return {name: value for name, value in merged.items() if value not in (None, "")}


def _refusal(attributes: Mapping[str, Any], type_name: str | None, *, type_is_new: bool) -> Response | None:
    thing_type = iot._thing_types.get(type_name) if type_name else None
    if type_name and thing_type is None:
        return iot._error_not_found("ThingType", type_name)
    if thing_type and type_is_new and thing_type["thingTypeMetadata"].get("deprecated"):
        return invalid(f"Can not use the deprecated thing type {type_name} for a thing")
    return attributes_refusal(attributes, MAX_ATTRIBUTES_WITH_TYPE if type_name else MAX_ATTRIBUTES_WITHOUT_TYPE)
