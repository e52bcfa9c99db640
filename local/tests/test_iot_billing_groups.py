"""AWS: a thing is in one billing group at most, which it is given when created or later."""

from __future__ import annotations

import pytest

from local.tests.iot_refusals import refused


@pytest.fixture
def iot(cloud):
    return cloud.client("iot")


@pytest.fixture
def group(iot, unique):
    name = unique("billing")
    iot.create_billing_group(billingGroupName=name, billingGroupProperties={"billingGroupDescription": "Milan"})
    return name


def members(iot, group: str) -> list[str]:
    return iot.list_things_in_billing_group(billingGroupName=group)["things"]


def test_a_group_is_described_as_it_was_created(iot, group):
    found = iot.describe_billing_group(billingGroupName=group)
    assert found["billingGroupProperties"] == {"billingGroupDescription": "Milan"}
    assert (found["billingGroupName"], found["version"]) == (group, 1)
    assert found["billingGroupArn"] == f"arn:aws:iot:us-east-1:000000000000:billinggroup/{group}"
    assert "creationDate" in found["billingGroupMetadata"]


def test_creating_again_with_the_same_properties_succeeds(iot, group):
    same = {"billingGroupDescription": "Milan"}
    iot.create_billing_group(billingGroupName=group, billingGroupProperties=same)
    with refused("ResourceAlreadyExistsException"):
        iot.create_billing_group(billingGroupName=group)


def test_a_thing_is_created_in_a_group(iot, group, unique):
    thing = unique("light")
    iot.create_thing(thingName=thing, billingGroupName=group)
    iot.create_thing(thingName=thing, billingGroupName=group)
    assert iot.describe_thing(thingName=thing)["billingGroupName"] == group
    assert members(iot, group) == [thing]
    with refused("ResourceAlreadyExistsException"):
        iot.create_thing(thingName=thing)
    with refused("ResourceNotFoundException"):
        iot.create_thing(thingName=unique("light"), billingGroupName=unique("billing"))


def test_a_thing_joins_one_group_and_leaves_it(iot, group, unique):
    thing, other = unique("light"), unique("billing")
    iot.create_thing(thingName=thing)
    iot.create_billing_group(billingGroupName=other)
    iot.add_thing_to_billing_group(billingGroupName=group, thingName=thing)
    iot.add_thing_to_billing_group(billingGroupName=group, thingName=thing)
    with refused("InvalidRequestException"):
        iot.add_thing_to_billing_group(billingGroupName=other, thingName=thing)
    iot.remove_thing_from_billing_group(billingGroupName=group, thingName=thing)
    assert members(iot, group) == []
    assert "billingGroupName" not in iot.describe_thing(thingName=thing)


def test_membership_calls_take_arns_and_refuse_what_is_not_there(iot, group, unique):
    thing = unique("light")
    arn = iot.create_thing(thingName=thing)["thingArn"]
    group_arn = iot.describe_billing_group(billingGroupName=group)["billingGroupArn"]
    iot.add_thing_to_billing_group(billingGroupArn=group_arn, thingArn=arn)
    assert members(iot, group) == [thing]
    with refused("ResourceNotFoundException"):
        iot.add_thing_to_billing_group(billingGroupName=unique("billing"), thingName=thing)
    with refused("ResourceNotFoundException"):
        iot.add_thing_to_billing_group(billingGroupName=group, thingName=unique("light"))


def test_membership_vanishes_with_the_thing(iot, group, unique):
    thing = unique("light")
    iot.create_thing(thingName=thing, billingGroupName=group)
    iot.delete_thing(thingName=thing)
    assert members(iot, group) == []


def test_update_and_delete_take_an_expected_version(iot, group):
    change = {"billingGroupDescription": "Turin"}
    answer = iot.update_billing_group(billingGroupName=group, billingGroupProperties=change, expectedVersion=1)
    assert answer["version"] == 2
    with refused("VersionConflictException"):
        iot.update_billing_group(billingGroupName=group, billingGroupProperties=change, expectedVersion=1)
    with refused("VersionConflictException"):
        iot.delete_billing_group(billingGroupName=group, expectedVersion=1)
    iot.delete_billing_group(billingGroupName=group, expectedVersion=2)
    with refused("ResourceNotFoundException"):
        iot.describe_billing_group(billingGroupName=group)


def test_groups_are_listed_by_prefix(iot, group):
    found = iot.list_billing_groups(namePrefixFilter=group)["billingGroups"]
    assert [one["groupName"] for one in found] == [group]


def test_groups_are_tagged(iot, unique):
    name = unique("billing")
    arn = iot.create_billing_group(billingGroupName=name, tags=[{"Key": "city", "Value": "milan"}])["billingGroupArn"]
    assert iot.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "city", "Value": "milan"}]
