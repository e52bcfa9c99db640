"""AWS: attributes, types and versions of things; CreateThing is idempotent; DeleteThing needs no principals left."""

from __future__ import annotations

import pytest

from local.tests.controls import control
from local.tests.iot_refusals import refused
from local.tests.mqtt_device import new_identity


def attributes(count: int) -> dict:
    return {"attributes": {f"a{number}": "x" for number in range(count)}}


@pytest.fixture
def iot(cloud):
    return cloud.client("iot")


@pytest.fixture
def thing_type(iot, unique):
    name = unique("type")
    iot.create_thing_type(thingTypeName=name)
    return name


def test_three_attributes_without_a_type_and_fifty_with(iot, unique, thing_type):
    iot.create_thing(thingName=unique("light"), attributePayload=attributes(3))
    iot.create_thing(thingName=unique("light"), thingTypeName=thing_type, attributePayload=attributes(50))
    with refused("InvalidRequestException"):
        iot.create_thing(thingName=unique("light"), attributePayload=attributes(4))
    with refused("InvalidRequestException"):
        iot.create_thing(thingName=unique("light"), thingTypeName=thing_type, attributePayload=attributes(51))


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("é", "x"), ("a", "x y"), ("a", "ä")])
def test_names_and_values_have_a_pattern(iot, unique, name, value):
    with refused("InvalidRequestException"):
        iot.create_thing(thingName=unique("light"), attributePayload={"attributes": {name: value}})


def test_an_update_is_held_to_the_same_limits_and_changes_nothing_when_refused(iot, unique, thing_type):
    name = unique("light")
    iot.create_thing(thingName=name, thingTypeName=thing_type, attributePayload=attributes(4))
    with refused("InvalidRequestException"):
        iot.update_thing(thingName=name, removeThingType=True)
    with refused("ResourceNotFoundException"):
        iot.update_thing(thingName=name, thingTypeName=unique("type"), attributePayload=attributes(1))
    found = iot.describe_thing(thingName=name)
    assert (found["version"], len(found["attributes"]), found["thingTypeName"]) == (1, 4, thing_type)


def test_update_thing_takes_an_expected_version(iot, unique):
    name = unique("light")
    iot.create_thing(thingName=name)
    iot.update_thing(thingName=name, attributePayload=attributes(1), expectedVersion=1)
    with refused("VersionConflictException"):
        iot.update_thing(thingName=name, attributePayload=attributes(2), expectedVersion=1)
    with refused("VersionConflictException"):
        iot.delete_thing(thingName=name, expectedVersion=1)


def test_no_new_thing_on_a_deprecated_type(iot, unique, thing_type):
    name = unique("light")
    iot.create_thing(thingName=name, thingTypeName=thing_type)
    iot.deprecate_thing_type(thingTypeName=thing_type)
    with refused("InvalidRequestException"):
        iot.create_thing(thingName=unique("light"), thingTypeName=thing_type)
    iot.create_thing(thingName=name, thingTypeName=thing_type)


def test_create_thing_repeated_with_the_same_configuration_succeeds(iot, unique):
    name = unique("light")
    first = iot.create_thing(thingName=name, attributePayload=attributes(1))
    assert iot.create_thing(thingName=name, attributePayload=attributes(1))["thingId"] == first["thingId"]
    with refused("ResourceAlreadyExistsException"):
        iot.create_thing(thingName=name, attributePayload=attributes(2))


def test_delete_thing_refuses_while_a_principal_is_attached(cloud, iot, unique, tmp_path):
    name, identity = unique("light"), new_identity(cloud, tmp_path)
    iot.create_thing(thingName=name)
    iot.attach_thing_principal(thingName=name, principal=identity.arn)
    with refused("InvalidRequestException"):
        iot.delete_thing(thingName=name)
    iot.detach_thing_principal(thingName=name, principal=identity.arn)
    iot.delete_thing(thingName=name)


def test_a_type_has_at_most_three_searchable_attributes(iot, unique):
    properties = {"searchableAttributes": ["wattage", "firmware_version", "city"]}
    iot.create_thing_type(thingTypeName=unique("type"), thingTypeProperties=properties)
    properties["searchableAttributes"].append("district")
    with refused("InvalidRequestException"):
        iot.create_thing_type(thingTypeName=unique("type"), thingTypeProperties=properties)


def test_a_type_is_deleted_five_minutes_after_its_deprecation(iot, thing_type):
    with refused("InvalidRequestException"):
        iot.delete_thing_type(thingTypeName=thing_type)
    iot.deprecate_thing_type(thingTypeName=thing_type)
    with refused("InvalidRequestException"):
        iot.delete_thing_type(thingTypeName=thing_type)


def test_five_minutes_on_a_deprecated_type_goes_unless_a_thing_has_it(cloud, iot, unique, thing_type):
    light = unique("light")
    iot.create_thing(thingName=light, thingTypeName=thing_type)
    assert control(cloud, "POST", "thing-types/age", {"name": thing_type, "seconds": 301})[0] == 404
    iot.deprecate_thing_type(thingTypeName=thing_type)
    assert control(cloud, "POST", "thing-types/age", {"name": thing_type, "seconds": 301})[0] == 200
    with refused("InvalidRequestException"):
        iot.delete_thing_type(thingTypeName=thing_type)
    iot.update_thing(thingName=light, removeThingType=True)
    iot.delete_thing_type(thingTypeName=thing_type)
    with refused("ResourceNotFoundException"):
        iot.describe_thing_type(thingTypeName=thing_type)


def test_a_deprecation_can_be_undone(iot, unique, thing_type):
    iot.deprecate_thing_type(thingTypeName=thing_type)
    iot.deprecate_thing_type(thingTypeName=thing_type, undoDeprecate=True)
    iot.create_thing(thingName=unique("light"), thingTypeName=thing_type)
    with refused("InvalidRequestException"):
        iot.delete_thing_type(thingTypeName=thing_type)


def test_no_thing_is_given_a_deprecated_type_later(iot, unique, thing_type):
    name = unique("light")
    iot.create_thing(thingName=name)
    iot.deprecate_thing_type(thingTypeName=thing_type)
    with refused("InvalidRequestException"):
        iot.update_thing(thingName=name, thingTypeName=thing_type)


def test_a_type_has_no_full_stop_in_its_name(iot, unique):
    with refused("InvalidRequestException"):
        iot.create_thing_type(thingTypeName=unique("type") + ".v2")
