"""IoT policies: their limits, and which of them are in force.

AWS IoT Core endpoints and quotas, "AWS IoT Core authentication and
authorization": a policy has at most 5 versions, a document at most 2,048
characters without white space, a certificate or thing group at most 10
policies. API Reference, "CreatePolicy": names match `[\\w+=,.@-]+`.
"GetEffectivePolicies": the policies that decide when a principal connects as a
thing, which are the principal's own and those of the thing's groups and the
groups above them. "ListAttachedPolicies": with `recursive`, those of the groups
above the target too. "CreatePolicyVersion": versions are numbered as they come.

The emulator has neither the limits nor GetEffectivePolicies, does not look at
`recursive`, takes thing names for policy names, and gives the number of a
deleted version again.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack.core.responses import json_response
from ministack.services import iot

from local import iot_routes
from local.iot_answers import invalid, limit_exceeded, malformed_policy, not_found, versions_limit_exceeded
from local.iot_groups import with_ancestors
from local.iot_principals import is_attached
from local.iot_routes import Request, Response

MAX_VERSIONS = 5
MAX_DOCUMENT = 2048
MAX_PER_TARGET = 10

# The member of a policy's record that holds the number of its latest version, deleted ones included.
_HIGHEST = "highestVersionId"

_NAME = re.compile(r"[\w+=,.@-]{1,128}", re.ASCII)


def install() -> None:
    validate_name, create, create_version, change_target = (
        iot._validate_name, iot._create_policy, iot._create_policy_version, iot._change_policy_target,
    )

    def name_refusal(name: str | None, field: str) -> Response | None:
        if field != "policyName":
            return validate_name(name, field)
        return None if _NAME.fullmatch(name or "") else invalid("Invalid policyName: must match [\\w+=,.@-]{1,128}")

    def create_policy(name: str, payload: dict) -> Response:
        return _document_refusal(payload.get("policyDocument")) or create(name, payload)

    def create_policy_version(name: str, payload: dict, qp: dict) -> Response:
        refusal = _document_refusal(payload.get("policyDocument")) or _versions_refusal(name)
        return refusal or _numbered(name, create_version(name, payload, qp))

    def change_policy_target(name: str, target: str | None, *, attach: bool, principal: bool = False) -> Response:
        refusal = _target_refusal(name, target) if attach else None
        return refusal or change_target(name, target, attach=attach, principal=principal)

    iot._validate_name = name_refusal
    iot._create_policy = create_policy
    iot._create_policy_version = create_policy_version
    iot._change_policy_target = change_policy_target
    iot._list_attached_policies = _list_attached_policies
    iot_routes.control("POST", "/effective-policies", _get_effective_policies)


def policies_in_force(certificate_arn: str, thing_name: str | None) -> list[dict[str, Any]]:
    """The policies of the certificate and, with a thing, of its groups and the groups above them."""
    targets = {certificate_arn}
    if thing_name is not None:
        groups = iot._things[thing_name].get("thingGroupNames", [])
        targets |= {iot._thing_group_arn(name) for group in groups for name in with_ancestors(group)}
    return [policy for policy in iot._policies.values() if targets.intersection(policy.get("targets", []))]


def default_document(policy: dict[str, Any]) -> str:
    return policy["versions"][policy["defaultVersionId"]]["document"]


def _document_refusal(document: Any) -> Response | None:
    if not isinstance(document, str):
        return None
    if len(re.sub(r"\s", "", document)) > MAX_DOCUMENT:
        return malformed_policy(f"Policy document must not be longer than {MAX_DOCUMENT} characters")
    try:
        parsed = json.loads(document)
    except ValueError:
        return malformed_policy("Policy document is Malformed")
    if not isinstance(parsed, dict) or parsed.get("Version") != "2012-10-17":
        return malformed_policy("Policy document is Malformed: Version must be 2012-10-17")
    statements = parsed.get("Statement")
    statements = statements if isinstance(statements, list) else [statements]
    if not statements or not all(map(_is_statement, statements)):
        return malformed_policy("Policy document is Malformed: a statement needs Effect, Action and Resource")
    return None


def _is_statement(statement: Any) -> bool:
    return (
        isinstance(statement, dict)
        and statement.get("Effect") in ("Allow", "Deny")
        and bool(statement.get("Action") or statement.get("NotAction"))
        and bool(statement.get("Resource") or statement.get("NotResource"))
    )


def _versions_refusal(name: str) -> Response | None:
    policy = iot._policies.get(name)
    if policy is None or len(policy["versions"]) < MAX_VERSIONS:
        return None
    return versions_limit_exceeded(f"The policy {name} already has the maximum number of versions ({MAX_VERSIONS})")


def _numbered(name: str, made: Response) -> Response:
    """The answer to a new version, under a number that no version of the policy ever had."""
    if made[0] != 200:
        return made
    answer, policy = json.loads(made[2]), iot._policies[name]
    given, number = answer["policyVersionId"], str(policy.get(_HIGHEST, 1) + 1)
    policy["versions"][number] = policy["versions"].pop(given)
    if policy["defaultVersionId"] == given:
        policy["defaultVersionId"] = number
    policy[_HIGHEST] = int(number)
    iot._policies[name] = policy
    return json_response({**answer, "policyVersionId": number})


def _target_refusal(name: str, target: str | None) -> Response | None:
    attached = [policy["policyName"] for policy in iot._policies_attached_to(target)] if target else []
    if name in attached or len(attached) < MAX_PER_TARGET:
        return None
    return limit_exceeded(f"Cannot attach more than {MAX_PER_TARGET} policies to {target}")


def _list_attached_policies(path: str, query: dict) -> Response:
    target = path.removeprefix("/attached-policies/")
    targets = {target}
    _, is_group, group = target.partition(":thinggroup/")
    if is_group and group in iot._thing_groups and iot._qp_bool(query, "recursive"):
        targets |= {iot._thing_group_arn(name) for name in with_ancestors(group)}
    return json_response({
        "policies": [
            {"policyName": policy["policyName"], "policyArn": policy["policyArn"]}
            for policy in iot._policies.values()
            if targets.intersection(policy.get("targets", []))
        ]
    })


def _get_effective_policies(request: Request) -> Response:
    principal = request.body.get("principal") or ""
    thing_name = request.query.get("thingName")
    certificate = iot._certificates.get(principal.rsplit("/", 1)[-1])
    if principal and certificate is None:
        return not_found("The certificate given in the principal does not exist.")
    if thing_name is not None and thing_name not in iot._things:
        return iot._error_not_found("Thing", thing_name)
    counts = thing_name is not None and (certificate is None or is_attached(certificate, thing_name))
    found = policies_in_force(principal, thing_name if counts else None)
    return json_response({
        "effectivePolicies": [
            {
                "policyName": policy["policyName"],
                "policyArn": policy["policyArn"],
                "policyDocument": default_document(policy),
            }
            for policy in found
        ]
    })
