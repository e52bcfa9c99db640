"""AWS: ten groups a thing, one group of a hierarchy; memberships go with the thing."""

from __future__ import annotations

import pytest

from local.tests.iot_refusals import refused


@pytest.fixture
def iot(cloud):
    return cloud.client("iot")


@pytest.fixture
def new_group(iot, unique):
    def make(parent: str | None = None) -> str:
        name = unique("group")
        iot.create_thing_group(thingGroupName=name, **({"parentGroupName": parent} if parent else {}))
        return name

    return make


@pytest.fixture
def thing(iot, unique):
    name = unique("light")
    iot.create_thing(thingName=name)
    return name


def groups_of(iot, thing: str) -> set[str]:
    return {group["groupName"] for group in iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"]}


def test_a_thing_is_in_ten_groups_at_most(iot, new_group, thing):
    for _ in range(10):
        iot.add_thing_to_thing_group(thingGroupName=new_group(), thingName=thing)
    with refused("InvalidRequestException"):
        iot.add_thing_to_thing_group(thingGroupName=new_group(), thingName=thing)


def test_a_thing_is_in_one_group_of_a_hierarchy(iot, new_group, thing):
    root = new_group()
    child, sibling = new_group(root), new_group(root)
    iot.add_thing_to_thing_group(thingGroupName=child, thingName=thing)
    iot.add_thing_to_thing_group(thingGroupName=child, thingName=thing)
    for other in (root, sibling):
        with refused("InvalidRequestException"):
            iot.add_thing_to_thing_group(thingGroupName=other, thingName=thing)


def test_memberships_vanish_with_the_thing(iot, new_group, thing):
    group = new_group()
    iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)
    iot.delete_thing(thingName=thing)
    assert iot.list_things_in_thing_group(thingGroupName=group)["things"] == []


def test_update_thing_groups_for_thing_is_all_or_nothing(iot, new_group, thing):
    root = new_group()
    child, sibling, apart = new_group(root), new_group(root), new_group()
    iot.update_thing_groups_for_thing(thingName=thing, thingGroupsToAdd=[child, apart])
    with refused("InvalidRequestException"):
        iot.update_thing_groups_for_thing(thingName=thing, thingGroupsToAdd=[sibling], thingGroupsToRemove=[apart])
    assert groups_of(iot, thing) == {child, apart}
    iot.update_thing_groups_for_thing(thingName=thing, thingGroupsToAdd=[sibling], thingGroupsToRemove=[child])
    assert groups_of(iot, thing) == {sibling, apart}


def test_a_group_tells_its_path_from_the_root(iot, new_group):
    root = new_group()
    middle = new_group(root)
    metadata = iot.describe_thing_group(thingGroupName=new_group(middle))["thingGroupMetadata"]
    assert metadata["parentGroupName"] == middle
    assert [group["groupName"] for group in metadata["rootToParentThingGroups"]] == [root, middle]


def test_a_hierarchy_is_seven_levels_deep_at_most(iot, new_group, unique):
    group = new_group()
    for _ in range(6):
        group = new_group(group)
    with refused("InvalidRequestException"):
        iot.create_thing_group(thingGroupName=unique("group"), parentGroupName=group)


def test_lists_go_down_the_hierarchy(iot, new_group, thing):
    root = new_group()
    middle = new_group(root)
    leaf = new_group(middle)
    iot.add_thing_to_thing_group(thingGroupName=leaf, thingName=thing)
    assert iot.list_things_in_thing_group(thingGroupName=root)["things"] == []
    assert iot.list_things_in_thing_group(thingGroupName=root, recursive=True)["things"] == [thing]

    def below(**more: object) -> list[str]:
        found = iot.list_thing_groups(parentGroup=root, **more)["thingGroups"]
        return sorted(group["groupName"] for group in found)

    assert below() == [middle]
    assert below(recursive=True) == sorted([middle, leaf])


def test_groups_take_an_expected_version(iot, new_group):
    group = new_group()
    change = {"thingGroupDescription": "changed"}
    iot.update_thing_group(thingGroupName=group, thingGroupProperties=change, expectedVersion=1)
    with refused("VersionConflictException"):
        iot.update_thing_group(thingGroupName=group, thingGroupProperties=change, expectedVersion=1)
    with refused("VersionConflictException"):
        iot.delete_thing_group(thingGroupName=group, expectedVersion=1)
    iot.delete_thing_group(thingGroupName=group, expectedVersion=2)


def test_group_names_have_a_pattern(iot):
    with refused("InvalidRequestException"):
        iot.create_thing_group(thingGroupName="milan.navigli")


def test_create_thing_group_repeated_with_the_same_properties_succeeds(iot, new_group):
    group = new_group()
    iot.create_thing_group(thingGroupName=group)
    with refused("ResourceAlreadyExistsException"):
        iot.create_thing_group(thingGroupName=group, thingGroupProperties={"thingGroupDescription": "other"})
