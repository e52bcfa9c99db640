"""AWS: dynamic groups need fleet indexing, have a query, and take no thing by hand."""

from __future__ import annotations

import pytest

from local.tests.iot_refusals import refused


@pytest.fixture
def iot(cloud):
    iot = cloud.client("iot")
    iot.update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "REGISTRY"})
    yield iot
    iot.update_indexing_configuration(thingIndexingConfiguration={"thingIndexingMode": "OFF"})


def test_without_fleet_indexing_there_is_none(cloud, unique):
    with refused("InvalidRequestException"):
        cloud.client("iot").create_dynamic_thing_group(thingGroupName=unique("group"), queryString="thingName:*")


def test_a_query_belongs_to_its_group(iot, unique):
    name = unique("group")
    for _ in range(2):
        made = iot.create_dynamic_thing_group(thingGroupName=name, queryString="thingName:a*")
    assert (made["indexName"], made["queryVersion"]) == ("AWS_Things", "2017-09-30")
    with refused("ResourceAlreadyExistsException"):
        iot.create_dynamic_thing_group(thingGroupName=name, queryString="thingName:b*")
    iot.update_dynamic_thing_group(thingGroupName=name, thingGroupProperties={}, queryString="thingName:c*")
    described = iot.describe_thing_group(thingGroupName=name)
    assert (described["queryString"], described["status"], described["version"]) == ("thingName:c*", "ACTIVE", 2)
    iot.delete_dynamic_thing_group(thingGroupName=name)
    with refused("ResourceNotFoundException"):
        iot.describe_thing_group(thingGroupName=name)


def test_no_thing_is_put_into_one(iot, unique):
    name, thing = unique("group"), unique("light")
    iot.create_dynamic_thing_group(thingGroupName=name, queryString="thingName:*")
    iot.create_thing(thingName=thing)
    with refused("InvalidRequestException"):
        iot.add_thing_to_thing_group(thingGroupName=name, thingName=thing)
    iot.delete_dynamic_thing_group(thingGroupName=name)
