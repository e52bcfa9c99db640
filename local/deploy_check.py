"""Compares the template with what is really there.

An emulator that drops a property reports success all the same. So every
property of every resource is read back through AWS's own API and compared
with the template; one that nothing here can read fails the check, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.clients import client
from local.deploy import Deployment
from local.deploy_reader import Properties, Reader, attributes_of
from local.deploy_readers_access import READERS as ACCESS
from local.deploy_readers_compute import READERS as COMPUTE
from local.deploy_readers_messaging import READERS as MESSAGING
from local.deploy_readers_storage import READERS as STORAGE
from local.deploy_template import Resolver, Unknown, expand

READERS: dict[str, Callable[[Reader, str, Properties], Properties]] = {**ACCESS, **COMPUTE, **MESSAGING, **STORAGE}

# What a resource has no way to show again.
SHOWN_NOWHERE = {
    # The packages and definitions themselves; functions that run prove them.
    ("AWS::Lambda::Function", "Code"),
    ("AWS::Lambda::EventInvokeConfig", "Qualifier"),
    # Says what to do on import, not what the API is.
    ("AWS::ApiGatewayV2::Api", "FailOnWarnings"),
    # Only counts once the key is scheduled for deletion.
    ("AWS::KMS::Key", "PendingWindowInDays"),
}


class CheckFailed(Exception):
    """What is there is not what the template says."""


def check(deployment: Deployment, packaged: Path) -> int:
    """Compare everything; the number of properties that were."""
    cloudformation = client("cloudformation", deployment.endpoint)
    listed = cloudformation.describe_stack_resources(StackName=deployment.stack_name)["StackResources"]
    ids = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in listed}
    types = {resource["LogicalResourceId"]: resource["ResourceType"] for resource in listed}
    described = cloudformation.describe_stacks(StackName=deployment.stack_name)["Stacks"][0]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in described.get("Parameters", [])}

    reader = Reader(lambda service: client(service, deployment.endpoint))
    resolver = Resolver(
        expand(packaged, parameters), parameters, ids,
        {name: attributes_of(reader, types[name], ids[name]) for name in ids}, deployment.stack_name)
    problems: list[str] = []
    compared = 0
    for name, resource in resolver.resources().items():
        kind = resource["Type"]
        if name not in ids or types[name] != kind:
            problems.append(f"{name} ({kind}): not there")
        elif not kind.startswith("Custom::"):
            compared += _compare(reader, resolver, name, resource, ids[name], problems)
    if extra := set(ids) - set(resolver.resources()):
        problems.append(f"there, but not in the template: {', '.join(sorted(extra))}")
    if problems:
        raise CheckFailed("what is deployed differs from the template:\n" + "\n".join(problems))
    return compared


def _compare(reader: Reader, resolver: Resolver, name: str, resource: dict[str, Any], physical_id: str,
             problems: list[str]) -> int:
    kind = resource["Type"]
    expected = {
        property_name: value for property_name, value in resolver.value(resource.get("Properties", {})).items()
        if (kind, property_name) not in SHOWN_NOWHERE
    }
    read = READERS.get(kind)
    if read is None:
        problems.append(f"{name}: the check cannot read {kind}")
        return 0
    try:
        actual = read(reader, physical_id, expected)
    except ClientError as error:
        problems.append(f"{name} ({kind}): {error}")
        return 0
    for property_name, value in expected.items():
        if property_name not in actual:
            problems.append(f"{name} ({kind}): the check cannot read {property_name}")
        elif not matches(value, actual[property_name]):
            problems.append(f"{name} ({kind}): {property_name} is {_shown(actual[property_name])}"
                            f" instead of {_shown(value)}")
    return len(expected)


def matches(expected: Any, actual: Any) -> bool:
    """Whether what is there has all that is expected; it may have more members."""
    if isinstance(expected, Unknown):
        return True
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            name in actual and matches(value, actual[name]) for name, value in expected.items())
    if isinstance(expected, list):
        if not isinstance(actual, list):
            # IAM takes one value for a list of one.
            return len(expected) == 1 and matches(expected[0], actual)
        return len(actual) == len(expected) and all(
            any(matches(value, candidate) for candidate in actual) for value in expected)
    if isinstance(actual, list) and len(actual) == 1:
        return matches(expected, actual[0])
    return _scalar(expected) == _scalar(actual)


def _scalar(value: Any) -> str:
    """Templates write numbers and truth as text as often as not."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 300 else text[:297] + "..."
