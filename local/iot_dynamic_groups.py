"""AWS's own dynamic thing groups, without their members.

AWS IoT API Reference, "CreateDynamicThingGroup", "UpdateDynamicThingGroup",
"DeleteDynamicThingGroup" and "DescribeThingGroup"; Developer Guide, "Dynamic
thing groups": they need fleet indexing, there are at most 100 of them, their
query belongs to the group, and no thing is added to one or removed from one by
hand. The emulator has none. Here they exist and are described; nothing is
searched for them, so no thing ever comes into one.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import json_response
from ministack.services import iot

from local import iot_routes
from local.iot_answers import already_exists, invalid
from local.iot_routes import Request, Response

MAX_DYNAMIC_GROUPS = 100
QUERY_VERSION = "2017-09-30"
INDEX = "AWS_Things"
_OF_QUERY = ("queryString", "queryVersion", "indexName", "status")


def install() -> None:
    describe, add, remove = iot._describe_thing_group, iot._add_thing_to_group, iot._remove_thing_from_group

    def describe_thing_group(name: str) -> Response:
        answer, group = describe(name), iot._thing_groups.get(name) or {}
        if "queryString" not in group:
            return answer
        return json_response({**json.loads(answer[2]), **{key: group[key] for key in _OF_QUERY}})

    async def add_thing_to_group(payload: dict) -> Response:
        return _by_hand(payload) or await add(payload)

    async def remove_thing_from_group(payload: dict) -> Response:
        return _by_hand(payload) or await remove(payload)

    iot._describe_thing_group = describe_thing_group
    iot._add_thing_to_group = add_thing_to_group
    iot._remove_thing_from_group = remove_thing_from_group
    iot_routes.control("POST", "/dynamic-thing-groups/{name}", _create)
    iot_routes.control("PATCH", "/dynamic-thing-groups/{name}", _update)
    iot_routes.control("DELETE", "/dynamic-thing-groups/{name}", _delete)


def _is_dynamic(name: str | None) -> bool:
    return "queryString" in (iot._thing_groups.get(name) or {})


def _by_hand(payload: dict) -> Response | None:
    group, _, refusal = iot._membership_names(payload)
    if refusal is None and _is_dynamic(group):
        return invalid(f"Things cannot be added to or removed from the dynamic group {group}")
    return None


def _query(payload: Any) -> dict[str, str]:
    return {
        "queryString": payload["queryString"],
        "queryVersion": payload.get("queryVersion") or QUERY_VERSION,
        "indexName": payload.get("indexName") or INDEX,
        "status": "ACTIVE",
    }


def _create(request: Request, name: str) -> Response:
    modes = iot._indexing_configuration().get("thingIndexingConfiguration") or {}
    if modes.get("thingIndexingMode", "OFF") == "OFF":
        return invalid("Dynamic groups need fleet indexing, which is off")
    if not request.body.get("queryString"):
        return invalid("queryString is required")
    if name in iot._thing_groups:
        same = _is_dynamic(name) and _query(request.body).items() <= iot._thing_groups[name].items()
        return _answer(name) if same else already_exists(f"ThingGroup {name} already exists with different properties")
    if sum(_is_dynamic(other) for other in list(iot._thing_groups)) >= MAX_DYNAMIC_GROUPS:
        return invalid(f"There are {MAX_DYNAMIC_GROUPS} dynamic groups already")
    answer = iot._create_thing_group(name, request.body)
    if answer[0] != 200:
        return answer
    iot._thing_groups[name] = {**iot._thing_groups[name], **_query(request.body)}
    return _answer(name)


def _answer(name: str) -> Response:
    group = iot._thing_groups[name]
    shown = ("thingGroupName", "thingGroupArn", "thingGroupId", *_OF_QUERY[:3])
    return json_response({key: group[key] for key in shown})


def _update(request: Request, name: str) -> Response:
    if not _is_dynamic(name):
        return iot._error_not_found("ThingGroup", name)
    group = iot._thing_groups[name]
    change = _query(request.body) if request.body.get("queryString") else {}
    iot._thing_groups[name] = {**group, **change, "version": group["version"] + 1}
    return json_response({"version": group["version"] + 1})


def _delete(_request: Request, name: str) -> Response:
    if name in iot._thing_groups and not _is_dynamic(name):
        return invalid(f"{name} is a static group")
    iot._thing_groups.pop(name, None)
    return json_response({})
