"""What is recorded of a role's policies is what they were needed for."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from local.tests.conftest import Cloud
from local.tests.deployed import send

THINGS = "arn:aws:iot:*:*:thing/"


def grants(cloud: Cloud, role: str) -> set[tuple[str, str, str]]:
    status, answer = send(urllib.request.Request(f"{cloud.endpoint}/_lamplighter/grants"))
    assert status == 200
    return {(each["sid"], each["action"], each["resource"]) for each in answer if each["role"] == role}


def test_a_grant_is_recorded_when_it_is_what_allows_a_request(cloud: Cloud, unique: Callable[[str], str]) -> None:
    role = unique("granted")
    iot = cloud.as_role(role, [
        {"Sid": "Two", "Effect": "Allow", "Action": ["iot:DescribeThing", "iot:DeleteThing"],
         "Resource": [f"{THINGS}a*", f"{THINGS}b*"]},
        {"Sid": "Wide", "Effect": "Allow", "Action": "iot:List*", "Resource": f"{THINGS}*"},
        {"Sid": "Spare", "Effect": "Allow", "Action": "iot:DescribeThing", "Resource": "*"},
        {"Sid": "But", "Effect": "Deny", "Action": "iot:DeleteThing", "Resource": "*"},
    ])("iot")
    assert grants(cloud, role) == set()

    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_thing(thingName="a1")
    used = {("Two", "iot:DescribeThing", f"{THINGS}a*")}
    assert grants(cloud, role) == used, "whatever became of the request"

    with pytest.raises(ClientError, match="not authorized"):
        iot.delete_thing(thingName="a1")
    assert grants(cloud, role) == used, "what is denied was not granted"

    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.list_thing_principals(thingName="a1")
    used.add(("Wide", "iot:ListThingPrincipals", f"{THINGS}*"))
    assert grants(cloud, role) == used, "what a wildcard gives has the name of the action"
