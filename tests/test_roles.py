"""Invariant 8: each function's role allows what the function needed while all
the other tests ran in this cloud, and nothing else.

Run last by `make test-system`; LAMPLIGHTER_OUTPUTS names the stack. The local
cloud records which statement of a role allowed each request, by which of its
resources. What the stack leaves out, since no replica is given, is not
compared.
"""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.clients import client
from local.settings import STACK_NAME

ROOT = Path(__file__).parent.parent
OUTPUTS = Path(os.environ.get("LAMPLIGHTER_OUTPUTS", ROOT / ".local/outputs.json"))

# Lambda writes a function's logs by its role, and the local cloud's does not ask for it.
BY_LAMBDA_ITSELF = {"logs:CreateLogStream", "logs:PutLogEvents"}


class Grant(NamedTuple):
    """One action on one resource, as a statement has them."""

    sid: str
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.action} on {self.resource} ({self.sid})"


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    assert OUTPUTS.exists(), f"no cloud to test: {OUTPUTS} is missing; run `make test-system`"
    return json.loads(OUTPUTS.read_text())


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def roles(endpoint: str) -> dict[str, str]:
    """The role of each function."""
    lambdas = client("lambda", endpoint)
    resources = client("cloudformation", endpoint).describe_stack_resources(StackName=STACK_NAME)["StackResources"]
    functions = [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::Lambda::Function"]
    return {name: lambdas.get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2] for name in functions}


def allowed(endpoint: str, role: str) -> set[Grant]:
    iam = client("iam", endpoint)
    assert iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"] == [], "all that a role may is in the template"
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
                 for name in iam.list_role_policies(RoleName=role)["PolicyNames"]]
    statements = [each for document in documents for each in document["Statement"] if each["Effect"] == "Allow"]
    assert len({each["Sid"] for each in statements}) == len(statements), "a statement is known by its Sid"
    return {Grant(each["Sid"], action, resource) for each in statements
            for action in listed(each["Action"]) for resource in listed(each["Resource"])}


# What no whole-system test comes to yet: a sweep from its schedule to its end,
# and the second of the two authority keys, which signs only after a rotation of
# the authority.
NOT_EXERCISED = {
    "CountForSweeps", "FindDue", "KeepSweeps", "LookAtDevices", "LookAtRotations", "ReadIndexes", "ReadSweeps",
    "SignCertificates", "StartWorkflow",
}


def needed(endpoint: str, role: str) -> set[Grant]:
    with urllib.request.urlopen(f"{endpoint}/_lamplighter/grants", timeout=30) as answer:
        return {Grant(each["sid"], each["action"], each["resource"]) for each in json.load(answer) if each["role"] == role}


def test_a_role_allows_what_its_function_needed_and_nothing_else(outputs: dict[str, Any]) -> None:
    endpoint = outputs["aws_endpoint"]
    remove_and_restore_the_default_group(outputs)
    by_function = roles(endpoint)
    assert len(set(by_function.values())) == len(by_function), "each function has a role of its own"
    problems = []
    for function, role in by_function.items():
        may = {grant for grant in allowed(endpoint, role) if grant.action not in BY_LAMBDA_ITSELF}
        must = needed(endpoint, role)
        idle = {grant for grant in may - must if grant.sid not in NOT_EXERCISED}
        problems += [f"{function} may, and never had to: {grant}" for grant in sorted(idle)]
        problems += [f"{function} had to, and only a wildcard allows it: {grant}" for grant in sorted(must - may)]
    assert not problems, "\n".join(problems)


def remove_and_restore_the_default_group(outputs: dict[str, Any]) -> None:
    """What no other test does, since every device without a group needs it."""
    iot, group = client("iot", outputs["aws_endpoint"]), outputs["stack"]["DefaultGroup"]
    pages = iot.get_paginator("list_things_in_thing_group").paginate(thingGroupName=group)
    members = [thing for page in pages for thing in page["things"]]
    for thing in members:
        iot.remove_thing_from_thing_group(thingGroupName=group, thingName=thing)
    configure_account(outputs, "delete")
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_thing_group(thingGroupName=group)
    configure_account(outputs, "create")
    for thing in members:
        iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)


def configure_account(outputs: dict[str, Any], what: str) -> None:
    """Ask for the stack's own settings as CloudFormation does, down to the pre-signed URL for the answer."""
    s3, lambdas = (client(service, outputs["aws_endpoint"]) for service in ("s3", "lambda"))
    function = lambdas.get_function_configuration(FunctionName=outputs["stack"]["ConfigureAccountFunction"])
    answers = {"Bucket": "custom-resource-answers", "Key": what}
    s3.create_bucket(Bucket=answers["Bucket"])
    event = json.loads((ROOT / f"events/configure-account/{what}.json").read_text())
    event["ResponseURL"] = s3.generate_presigned_url("put_object", Params=answers)
    # The function finds the Region and account that its policy names in its own ARN.
    event["ResourceProperties"] |= {"ServiceToken": function["FunctionArn"], "DefaultGroup": outputs["stack"]["DefaultGroup"]}
    invoked = lambdas.invoke(FunctionName=function["FunctionName"], Payload=json.dumps(event).encode())
    assert "FunctionError" not in invoked, invoked["Payload"].read()
    assert json.load(s3.get_object(**answers)["Body"])["Status"] == "SUCCESS"
