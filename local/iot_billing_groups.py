"""Billing groups.

AWS IoT API Reference, "CreateBillingGroup", "DescribeBillingGroup",
"UpdateBillingGroup", "DeleteBillingGroup", "ListBillingGroups",
"AddThingToBillingGroup", "RemoveThingFromBillingGroup",
"ListThingsInBillingGroup", and the `billingGroupName` of CreateThing and
DescribeThing; Developer Guide, "Billing groups": a thing belongs to one billing
group at most. What AWS does with a thing that is in another already is not
documented, so it is refused here and code has to take it out first, which works
either way. The emulator has no billing groups.
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from ministack.core.responses import get_account_id, get_region, json_response
from ministack.services import iot

from local import iot_routes, iot_stores
from local.iot_answers import already_exists, invalid, not_found, version_conflict
from local.iot_routes import Request, Response

_GROUPS = iot_stores.new_store()

# The member of a thing's record that names its billing group.
_MEMBER = "billingGroupName"


def install() -> None:
    create, describe = iot._create_thing, iot._describe_thing

    def create_thing(name: str, payload: dict) -> Response:
        group, before = payload.get(_MEMBER), iot._things.get(name)
        if group and group not in _GROUPS:
            return _group_not_found(group)
        if before is not None and before.get(_MEMBER) != group:
            return already_exists(f"Thing {name!r} already exists with different configuration")
        answer = create(name, payload)
        if answer[0] == 200 and before is None:
            _set_group(name, group)
        return answer

    def describe_thing(name: str) -> Response:
        answer = describe(name)
        group = (iot._things.get(name) or {}).get(_MEMBER)
        return json_response({**json.loads(answer[2]), _MEMBER: group}) if group else answer

    iot._create_thing = create_thing
    iot._describe_thing = describe_thing
    iot._TAGGABLE_RESOURCES["billinggroup"] = (_GROUPS, "Billing Group {name} does not exist.")
    iot_routes.control("PUT", "/billing-groups/addThingToBillingGroup", _add_thing)
    iot_routes.control("PUT", "/billing-groups/removeThingFromBillingGroup", _remove_thing)
    iot_routes.control("GET", "/billing-groups", _list_groups)
    iot_routes.control("GET", "/billing-groups/{name}/things", _list_things)
    iot_routes.control("POST", "/billing-groups/{name}", _create)
    iot_routes.control("GET", "/billing-groups/{name}", _describe)
    iot_routes.control("PATCH", "/billing-groups/{name}", _update)
    iot_routes.control("DELETE", "/billing-groups/{name}", _delete)


def _group_not_found(name: str) -> Response:
    return not_found(f"Billing Group {name} does not exist.")


def _set_group(thing_name: str, group: str | None) -> None:
    thing = iot._things[thing_name]
    thing[_MEMBER] = group
    iot._things[thing_name] = thing


def _create(request: Request, name: str) -> Response:
    tags = request.body.get("tags")
    refusal = iot._validate_name(name, _MEMBER) or iot._tags_error(
        tags, required=False, missing_value=iot._TAG_WITHOUT_VALUE
    )
    if refusal:
        return refusal
    properties = request.body.get("billingGroupProperties") or {}
    group = _GROUPS.get(name)
    if group is None:
        group = _GROUPS[name] = {
            _MEMBER: name,
            "billingGroupArn": f"arn:aws:iot:{get_region()}:{get_account_id()}:billinggroup/{name}",
            "billingGroupId": str(uuid.uuid4()),
            "version": 1,
            "billingGroupProperties": properties,
            "billingGroupMetadata": {"creationDate": time.time()},
        }
        iot._set_created_tags(group["billingGroupArn"], tags)
    elif group["billingGroupProperties"] != properties or _tags_differ(group, tags):
        return already_exists(f"Billing Group {name} already exists in current account with different properties")
    return json_response({key: group[key] for key in (_MEMBER, "billingGroupArn", "billingGroupId")})


def _tags_differ(group: dict[str, Any], tags: list[dict[str, str]] | None) -> bool:
    asked = {tag["Key"]: tag.get("Value") for tag in tags or []}
    return asked != (iot._tags.get(group["billingGroupArn"]) or {})


def _describe(_request: Request, name: str) -> Response:
    return json_response(_GROUPS[name]) if name in _GROUPS else _group_not_found(name)


def _version_refusal(name: str, expected: object) -> Response | None:
    if expected in (None, "") or str(expected) == str(_GROUPS[name]["version"]):
        return None
    return version_conflict(f"The version for billing group {name} does not match the expected version.")


def _update(request: Request, name: str) -> Response:
    if name not in _GROUPS:
        return _group_not_found(name)
    refusal = _version_refusal(name, request.body.get("expectedVersion"))
    if refusal:
        return refusal
    group = _GROUPS[name]
    properties = request.body.get("billingGroupProperties") or {}
    _GROUPS[name] = {**group, "billingGroupProperties": properties, "version": group["version"] + 1}
    return json_response({"version": group["version"] + 1})


def _delete(request: Request, name: str) -> Response:
    if name not in _GROUPS:
        return json_response({})
    refusal = _version_refusal(name, request.query.get("expectedVersion"))
    if refusal:
        return refusal
    for thing in _members(name):
        _set_group(thing, None)
    iot._tags.pop(_GROUPS[name]["billingGroupArn"], None)
    del _GROUPS[name]
    return json_response({})


def _members(name: str) -> list[str]:
    return [thing["thingName"] for thing in iot._things.values() if thing.get(_MEMBER) == name]


def _list_groups(request: Request) -> Response:
    prefix = request.query.get("namePrefixFilter") or ""
    return json_response({
        "billingGroups": [
            {"groupName": name, "groupArn": group["billingGroupArn"]}
            for name, group in _GROUPS.items()
            if name.startswith(prefix)
        ]
    })


def _list_things(_request: Request, name: str) -> Response:
    return json_response({"things": _members(name)}) if name in _GROUPS else _group_not_found(name)


def _named(request: Request) -> tuple[str, str, Response | None]:
    """The billing group and the thing of a membership call, each by name or ARN, or its refusal."""
    names = []
    for kind in ("billingGroup", "thing"):
        name, arn = request.body.get(f"{kind}Name"), request.body.get(f"{kind}Arn")
        if not name and not arn:
            return "", "", invalid(f"Both {kind}Arn and {kind}Name are empty. Need to specify at least one of them")
        names.append(name or arn.rsplit("/", 1)[-1])
    group, thing = names
    if group not in _GROUPS:
        return group, thing, _group_not_found(group)
    return group, thing, None if thing in iot._things else iot._error_not_found("Thing", thing)


def _add_thing(request: Request) -> Response:
    group, thing, refusal = _named(request)
    if refusal:
        return refusal
    if iot._things[thing].get(_MEMBER) not in (None, group):
        return invalid(f"Thing {thing} is already in billing group {iot._things[thing][_MEMBER]}")
    _set_group(thing, group)
    return json_response({})


def _remove_thing(request: Request) -> Response:
    group, thing, refusal = _named(request)
    if refusal:
        return refusal
    if iot._things[thing].get(_MEMBER) == group:
        _set_group(thing, None)
    return json_response({})
