"""AWS: five versions a policy, ten policies a target, and which policies are in force."""

from __future__ import annotations

import json

import pytest

from local.tests.conftest import policy_document
from local.tests.iot_refusals import refused
from local.tests.mqtt_device import new_identity

DOCUMENT = policy_document([{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}])


@pytest.fixture
def iot(cloud):
    return cloud.client("iot")


@pytest.fixture
def new_policy(iot, unique):
    def make(target: str | None = None) -> str:
        name = unique("policy")
        iot.create_policy(policyName=name, policyDocument=DOCUMENT)
        if target:
            iot.attach_policy(policyName=name, target=target)
        return name

    return make


def test_a_policy_has_at_most_five_versions(iot, new_policy):
    name = new_policy()
    for _ in range(4):
        iot.create_policy_version(policyName=name, policyDocument=DOCUMENT, setAsDefault=True)
    with refused("VersionsLimitExceededException"):
        iot.create_policy_version(policyName=name, policyDocument=DOCUMENT)
    iot.delete_policy_version(policyName=name, policyVersionId="1")
    iot.create_policy_version(policyName=name, policyDocument=DOCUMENT)


def test_the_default_version_is_the_one_in_force_and_is_not_deleted(cloud, iot, new_policy, tmp_path):
    arn = new_identity(cloud, tmp_path).arn
    name = new_policy(arn)
    other = policy_document([{"Effect": "Deny", "Action": "iot:Connect", "Resource": "*"}])
    made = iot.create_policy_version(policyName=name, policyDocument=other)
    assert (made["policyVersionId"], made["isDefaultVersion"]) == ("2", False)

    def in_force() -> str:
        [policy] = iot.get_effective_policies(principal=arn)["effectivePolicies"]
        return policy["policyDocument"]

    assert in_force() == DOCUMENT
    for _ in range(2):
        iot.set_default_policy_version(policyName=name, policyVersionId="2")
    assert in_force() == other
    assert iot.get_policy(policyName=name)["defaultVersionId"] == "2"
    shown = {version["versionId"]: version["isDefaultVersion"]
             for version in iot.list_policy_versions(policyName=name)["policyVersions"]}
    assert shown == {"1": False, "2": True}
    with refused("DeleteConflictException"):
        iot.delete_policy_version(policyName=name, policyVersionId="2")
    iot.delete_policy_version(policyName=name, policyVersionId="1")
    # A number that was used is not used again, be it the latest.
    assert iot.create_policy_version(policyName=name, policyDocument=DOCUMENT)["policyVersionId"] == "3"
    iot.delete_policy_version(policyName=name, policyVersionId="3")
    latest = iot.create_policy_version(policyName=name, policyDocument=DOCUMENT, setAsDefault=True)
    assert (latest["policyVersionId"], in_force()) == ("4", DOCUMENT)
    for call in (iot.set_default_policy_version, iot.get_policy_version, iot.delete_policy_version):
        with refused("ResourceNotFoundException"):
            call(policyName=name, policyVersionId="1")


def test_a_policy_with_other_versions_is_not_deleted(iot, new_policy):
    name = new_policy()
    iot.create_policy_version(policyName=name, policyDocument=DOCUMENT)
    with refused("DeleteConflictException"):
        iot.delete_policy(policyName=name)


def test_a_target_has_at_most_ten_policies(cloud, iot, new_policy, tmp_path):
    arn = new_identity(cloud, tmp_path).arn
    for _ in range(10):
        name = new_policy(arn)
    with refused("LimitExceededException"):
        new_policy(arn)
    iot.attach_policy(policyName=name, target=arn)


def test_policy_names_have_a_pattern_of_their_own(iot, unique):
    iot.create_policy(policyName=unique("a.b=c,d+e@f"), policyDocument=DOCUMENT)
    with refused("InvalidRequestException"):
        iot.create_policy(policyName=unique("a:b"), policyDocument=DOCUMENT)


@pytest.mark.parametrize("document", [
    "{", "[]", "{}", json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow"}]}),
    policy_document([{"Effect": "Allow", "Action": "iot:Connect", "Resource": ["x" * 2048]}]),
])
def test_malformed_documents_are_refused(iot, unique, document):
    with refused("MalformedPolicyException"):
        iot.create_policy(policyName=unique("policy"), policyDocument=document)


def test_a_policy_in_use_is_not_deleted(cloud, iot, new_policy, tmp_path):
    arn = new_identity(cloud, tmp_path).arn
    name = new_policy(arn)
    with refused("DeleteConflictException"):
        iot.delete_policy(policyName=name)
    iot.detach_policy(policyName=name, target=arn)
    iot.delete_policy(policyName=name)


def test_effective_policies_are_the_certificates_and_those_of_the_things_groups(
    cloud, iot, new_policy, unique, tmp_path,
):
    root, leaf, thing, arn = unique("group"), unique("group"), unique("light"), new_identity(cloud, tmp_path).arn
    root_arn = iot.create_thing_group(thingGroupName=root)["thingGroupArn"]
    iot.create_thing_group(thingGroupName=leaf, parentGroupName=root)
    iot.create_thing(thingName=thing)
    iot.add_thing_to_thing_group(thingGroupName=leaf, thingName=thing)
    own, above = new_policy(arn), new_policy(root_arn)

    def in_force() -> set[str]:
        found = iot.get_effective_policies(principal=arn, thingName=thing)["effectivePolicies"]
        return {policy["policyName"] for policy in found}

    assert in_force() == {own}
    iot.attach_thing_principal(thingName=thing, principal=arn)
    assert in_force() == {own, above}


def test_the_policies_of_the_groups_above_are_listed_when_asked_for(iot, new_policy, unique):
    root, leaf = unique("group"), unique("group")
    root_arn = iot.create_thing_group(thingGroupName=root)["thingGroupArn"]
    leaf_arn = iot.create_thing_group(thingGroupName=leaf, parentGroupName=root)["thingGroupArn"]
    above, own = new_policy(root_arn), new_policy(leaf_arn)

    def listed(**how) -> set[str]:
        found = iot.list_attached_policies(target=leaf_arn, **how)["policies"]
        return {policy["policyName"] for policy in found}

    assert listed() == {own}
    assert listed(recursive=True) == {own, above}
