"""Which resources an IoT operation is authorised on.

Service Authorization Reference, "Actions, resources, and condition keys for AWS
IoT": the resource types of each action. A policy statement that names other
resources than these does not allow the call, and where an action has two
required types, both are checked.

The emulator guesses the resource from the first known word in the path, which
is wrong for attachments (AttachPolicy is authorised on its target,
AttachThingPrincipal on the certificate), for shadow names and for executions,
and it knows nothing of the operations added here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_actions

EVERYTHING = "*"


@dataclass(frozen=True)
class Call:
    """What a resource can be read from."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    prefix: str

    def arn(self, kind: str, name: str) -> str:
        return f"{self.prefix}:{kind}/{name}"


Resources = Callable[[Call], list[str]]


def _segment(kind: str, index: int) -> Resources:
    """The path's segment at `index` names a resource of this type."""
    return lambda call: [call.arn(kind, call.path.strip("/").split("/")[index])]


def _rest(kind: str) -> Resources:
    """All of the path after its first segment names a resource of this type."""
    return lambda call: [call.arn(kind, call.path.strip("/").partition("/")[2])]


def _member(kind: str, member: str) -> Resources:
    """A member of the body names a resource of this type, if it is there; its Arn variant counts too."""

    def resources(call: Call) -> list[str]:
        name = call.body.get(member)
        arn = call.body.get(member.removesuffix("Name") + "Arn")
        return [call.arn(kind, name)] if name else [arn] if arn else []

    return resources


def _members(kind: str, *lists: str) -> Resources:
    return lambda call: [call.arn(kind, name) for member in lists for name in call.body.get(member) or []]


def _arns(member: str) -> Resources:
    return lambda call: list(call.body.get(member) or [])


def _arn(member: str) -> Resources:
    return lambda call: [call.body.get(member) or EVERYTHING]


def _header(name: str) -> Resources:
    return lambda call: [call.headers.get(name) or EVERYTHING]


def _constant(kind: str, name: str) -> Resources:
    return lambda call: [call.arn(kind, name)]


def _nothing(_call: Call) -> list[str]:
    return [EVERYTHING]


_JOB = (_segment("job", 1),)
_EXECUTION = (_segment("job", 3), _segment("thing", 1))
_PRINCIPAL = (_header("x-amzn-principal"),)
_BILLING_GROUP = (_segment("billinggroup", 1),)
_BILLING_MEMBERSHIP = (_member("billinggroup", "billingGroupName"), _member("thing", "thingName"))
_DYNAMIC_GROUP = (_segment("thinggroup", 1), _constant("index", "AWS_Things"))
_TUNNEL = (_member("tunnel", "tunnelId"),)
_CA = (_segment("cacert", 1),)

ACTIONS: dict[str, tuple[Resources, ...]] = {
    "AttachPolicy": (_arn("target"),),
    "DetachPolicy": (_arn("target"),),
    "AttachPrincipalPolicy": (_header("x-amzn-iot-principal"),),
    "DetachPrincipalPolicy": (_header("x-amzn-iot-principal"),),
    "ListAttachedPolicies": (_nothing,),
    "ListPrincipalPolicies": (_nothing,),
    "ListPolicyPrincipals": (_nothing,),
    "ListTargetsForPolicy": (_segment("policy", 1),),
    "GetEffectivePolicies": (_arn("principal"),),
    "AttachThingPrincipal": _PRINCIPAL,
    "DetachThingPrincipal": _PRINCIPAL,
    "ListPrincipalThings": _PRINCIPAL,
    "ListPrincipalThingsV2": _PRINCIPAL,
    "CreateThing": (_segment("thing", 1), _member("billinggroup", "billingGroupName")),
    "UpdateThingGroupsForThing": (
        _member("thing", "thingName"),
        _members("thinggroup", "thingGroupsToAdd", "thingGroupsToRemove"),
    ),
    "AddThingToBillingGroup": _BILLING_MEMBERSHIP,
    "RemoveThingFromBillingGroup": _BILLING_MEMBERSHIP,
    "CreateBillingGroup": _BILLING_GROUP,
    "DescribeBillingGroup": _BILLING_GROUP,
    "UpdateBillingGroup": _BILLING_GROUP,
    "DeleteBillingGroup": _BILLING_GROUP,
    "ListThingsInBillingGroup": _BILLING_GROUP,
    "CreateJob": (*_JOB, _arns("targets")),
    "DescribeJob": _JOB,
    "CancelJob": _JOB,
    "DeleteJob": _JOB,
    "ListJobExecutionsForJob": _JOB,
    "CreateDynamicThingGroup": _DYNAMIC_GROUP,
    "UpdateDynamicThingGroup": _DYNAMIC_GROUP,
    "DeleteDynamicThingGroup": _DYNAMIC_GROUP[:1],
    "CancelJobExecution": _EXECUTION,
    "DeleteJobExecution": _EXECUTION,
    "DescribeJobExecution": _EXECUTION,
    "DescribeCACertificate": _CA,
    "UpdateCACertificate": _CA,
    "DeleteCACertificate": _CA,
    "SearchIndex": (_constant("index", "AWS_Things"),),
    "DescribeIndex": (_segment("index", 1),),
    "DeleteConnection": (_rest("client"),),
    "GetConnection": (_rest("client"),),
    "ListNamedShadowsForThing": (_segment("thing", 4),),
    "OpenTunnel": (_nothing,),
    "ListTunnels": (_nothing,),
    "DescribeTunnel": _TUNNEL,
    "CloseTunnel": _TUNNEL,
    "RotateTunnelAccessToken": _TUNNEL,
}
_TUNNEL_TAGS = {name: (_arn("resourceArn"),) for name in ("TagResource", "UntagResource", "ListTagsForResource")}


def install() -> None:
    first, all_of = iam_actions.extract_resource_arn, iam_actions.iot_resource_arns

    def extract_resource_arn(
        service: str, method: str, path: str, headers: dict, body: bytes, params: dict, region: str, account_id: str,
    ) -> str:
        if service in ("iot", "iot-data", "iotsecuretunneling"):
            action = iam_actions.extract_iam_action(service, method, path, headers, body, params)
            found = _resources(service, action, path, headers, body, region, account_id)
            if found:
                return found[0]
        return first(service, method, path, headers, body, params, region, account_id)

    def iot_resource_arns(method: str, path: str, body: bytes, region: str, account_id: str) -> list[str]:
        action = iam_actions.extract_iam_action("iot", method, path, {}, body, {})
        found = _resources("iot", action, path, {}, body, region, account_id)
        return found or all_of(method, path, body, region, account_id)

    iam_actions.extract_resource_arn = extract_resource_arn
    iam_actions.iot_resource_arns = iot_resource_arns


def _resources(
    service: str, action: str | None, path: str, headers: Mapping[str, str], body: bytes, region: str, account_id: str,
) -> list[str]:
    """The ARNs the action is checked on, the first one first; none for an action the emulator has right."""
    name = (action or "").rpartition(":")[2]
    rules = _TUNNEL_TAGS.get(name) if service == "iotsecuretunneling" else None
    call = Call(path, headers, _json(body), f"arn:aws:iot:{region}:{account_id}")
    return [arn for rule in rules or ACTIONS.get(name, ()) for arn in rule(call)]


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
