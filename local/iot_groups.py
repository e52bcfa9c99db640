"""Static thing groups: hierarchies, and how many a thing may be in.

AWS IoT Core Developer Guide, "Static thing groups", and "AWS IoT Device
Management endpoints and quotas": a thing is in at most 10 groups, and in one
group of a hierarchy, that is, never in two groups that share an ancestor; a
hierarchy is at most 7 levels deep and a group has at most 100 direct children
and 50 attributes. UpdateThingGroup and DeleteThingGroup take
`expectedVersion`; lists take `parentGroup`, `namePrefixFilter` and `recursive`;
DescribeThingGroup tells the path from the root. "UpdateThingGroupsForThing"
adds and removes several at once, all or nothing.

The emulator has none of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ministack.core.responses import json_response
from ministack.services import iot

from local import iot_routes
from local.iot_answers import invalid, version_conflict
from local.iot_attributes import attributes_refusal
from local.iot_routes import Request, Response

MAX_PER_THING = 10
MAX_DEPTH = 7
MAX_CHILDREN = 100
MAX_ATTRIBUTES = 50


def install() -> None:
    create, handle, add = iot._create_thing_group, iot._handle_thing_group, iot._add_thing_to_group

    def create_thing_group(name: str, payload: dict) -> Response:
        return _creation_refusal(payload) or create(name, payload)

    def handle_thing_group(method: str, path: str, body: bytes, qp: dict) -> Response:
        name = path.removeprefix("/thing-groups/")
        payload = iot._parse_body(body)
        expected = {"PATCH": payload.get("expectedVersion"), "DELETE": qp.get("expectedVersion")}.get(method)
        return _version_refusal(name, expected) or handle(method, path, body, qp)

    async def add_thing_to_group(payload: dict) -> Response:
        group, thing, refusal = iot._membership_names(payload)
        if refusal is None and group in iot._thing_groups and thing in iot._things:
            joined = {*iot._things[thing].get("thingGroupNames", []), group}
            refusal = _membership_refusal(thing, joined)
        return refusal or await add(payload)

    iot._create_thing_group = create_thing_group
    iot._handle_thing_group = handle_thing_group
    iot._add_thing_to_group = add_thing_to_group
    iot._describe_thing_group = _describe_thing_group
    iot_routes.control("PUT", "/thing-groups/updateThingGroupsForThing", _update_thing_groups_for_thing)
    iot_routes.control("GET", "/thing-groups", _list_thing_groups)
    iot_routes.control("GET", "/thing-groups/{name}/things", _list_things_in_thing_group)


def parent_of(name: str) -> str | None:
    group = iot._thing_groups.get(name) or {}
    return (group.get("thingGroupMetadata") or {}).get("parentGroupName")


def with_ancestors(name: str) -> list[str]:
    """The group and every group above it, up to its root."""
    path = [name]
    while (parent := parent_of(path[-1])) is not None:
        path.append(parent)
    return path


def _children(name: str) -> list[str]:
    return [child for child in iot._thing_groups if parent_of(child) == name]


def _with_descendants(name: str) -> list[str]:
    return [name, *(below for child in _children(name) for below in _with_descendants(child))]


def _creation_refusal(payload: dict) -> Response | None:
    properties = payload.get("thingGroupProperties") or {}
    attributes = (properties.get("attributePayload") or {}).get("attributes") or {}
    refusal = attributes_refusal(attributes, MAX_ATTRIBUTES)
    parent = payload.get("parentGroupName")
    if refusal or not parent or parent not in iot._thing_groups:
        return refusal
    if len(with_ancestors(parent)) >= MAX_DEPTH:
        return invalid(f"A thing group hierarchy cannot be deeper than {MAX_DEPTH} levels")
    if len(_children(parent)) >= MAX_CHILDREN:
        return invalid(f"Thing group {parent} cannot have more than {MAX_CHILDREN} direct child groups")
    return None


def _version_refusal(name: str, expected: object) -> Response | None:
    group = iot._thing_groups.get(name)
    if group is None or expected in (None, "") or str(expected) == str(group.get("version", 1)):
        return None
    return version_conflict(f"The version for thing group {name} does not match the expected version.")


def _membership_refusal(thing: str, groups: Iterable[str]) -> Response | None:
    groups = list(groups)
    if len(groups) > MAX_PER_THING:
        return invalid(f"Thing {thing} cannot be in more than {MAX_PER_THING} thing groups")
    roots = Counter(with_ancestors(group)[-1] for group in groups)
    root, count = roots.most_common(1)[0] if roots else ("", 0)
    if count > 1:
        return invalid(f"Thing {thing} cannot be in more than one group of the hierarchy under {root}")
    return None


async def _update_thing_groups_for_thing(request: Request) -> Response:
    thing = request.body.get("thingName") or ""
    adding = list(request.body.get("thingGroupsToAdd") or [])
    removing = list(request.body.get("thingGroupsToRemove") or [])
    if thing not in iot._things:
        return iot._error_not_found("Thing", thing)
    missing = [name for name in adding + removing if name not in iot._thing_groups]
    if missing:
        return iot._error_not_found("ThingGroupMember", missing[0])
    current = set(iot._things[thing].get("thingGroupNames", []))
    refusal = _membership_refusal(thing, (current - set(removing)) | set(adding))
    if refusal:
        return refusal
    for name in removing:
        await iot._remove_thing_from_group({"thingGroupName": name, "thingName": thing})
    for name in adding:
        await iot._add_thing_to_group({"thingGroupName": name, "thingName": thing})
    return json_response({})


def _describe_thing_group(name: str) -> Response:
    group = iot._thing_groups.get(name)
    if group is None:
        return iot._error_not_found("ThingGroup", name)
    path = [iot._thing_groups[above] for above in reversed(with_ancestors(name)[1:])]
    metadata = {"creationDate": group["creationDate"]}
    if path:
        metadata["parentGroupName"] = path[-1]["thingGroupName"]
        metadata["rootToParentThingGroups"] = [
            {"groupName": above["thingGroupName"], "groupArn": above["thingGroupArn"]} for above in path
        ]
    shown = ("thingGroupName", "thingGroupId", "thingGroupArn", "thingGroupProperties", "version")
    return json_response({**{key: group[key] for key in shown}, "thingGroupMetadata": metadata})


def _list_thing_groups(request: Request) -> Response:
    parent = request.query.get("parentGroup")
    prefix = request.query.get("namePrefixFilter") or ""
    if parent is None:
        names = list(iot._thing_groups)
    elif parent not in iot._thing_groups:
        return iot._error_not_found("ThingGroup", parent)
    else:
        names = _with_descendants(parent)[1:] if iot._qp_bool(request.query, "recursive") else _children(parent)
    return json_response({
        "thingGroups": [
            {"groupName": name, "groupArn": iot._thing_group_arn(name)} for name in names if name.startswith(prefix)
        ]
    })


def _list_things_in_thing_group(request: Request, name: str) -> Response:
    if name not in iot._thing_groups:
        return iot._error_not_found("ThingGroupMember", name)
    groups = _with_descendants(name) if iot._qp_bool(request.query, "recursive") else [name]
    things = {thing for group in groups for thing in iot._thing_groups[group].get("things", [])}
    return json_response({"things": sorted(things)})
