"""AWS: connections, named shadows and retained messages on the data plane."""

from __future__ import annotations

import json

import pytest

from local.tests.iot_refusals import refused
from local.tests.mqtt_device import Device, allow_all, new_identity


@pytest.fixture
def data(cloud):
    return cloud.client("iot-data")


@pytest.fixture
def identity(cloud, unique, tmp_path):
    made = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), made.arn)
    return made


def test_delete_connection_disconnects_a_live_session(cloud, data, identity, unique):
    client_id = unique("light")
    with Device(cloud, client_id, identity) as device:
        assert device.connect()
        assert data.get_connection(clientId=client_id)["connected"]
        data.delete_connection(clientId=client_id)
        assert device.disconnected.wait(2)
    found = data.get_connection(clientId=client_id)
    assert (found["connected"], found["disconnectReason"]) == (False, "API_INITIATED_DISCONNECT")


def test_delete_connection_of_a_stranger_is_not_found(data, unique):
    with refused("ResourceNotFoundException"):
        data.delete_connection(clientId=unique("light"))
    with refused("ResourceNotFoundException"):
        data.get_connection(clientId=unique("light"))


@pytest.mark.parametrize("prevented", [True, False])
def test_delete_connection_publishes_the_will_unless_prevented(cloud, data, identity, unique, prevented):
    client_id, topic = unique("light"), unique("wills")
    with Device(cloud, unique("watcher"), identity) as watcher, Device(cloud, client_id, identity) as device:
        assert watcher.connect()
        assert watcher.subscribe(topic)
        device.will(topic, "gone")
        assert device.connect()
        data.delete_connection(clientId=client_id, preventWillMessage=prevented)
        assert watcher.hears_nothing() if prevented else watcher.receive() == (topic, "gone")


def test_named_shadows_are_listed_in_pages_without_the_classic_one(cloud, data, unique):
    thing = unique("light")
    cloud.client("iot").create_thing(thingName=thing)
    state = json.dumps({"state": {"reported": {"on": True}}})
    data.update_thing_shadow(thingName=thing, payload=state)
    for name in ("a", "b", "c"):
        data.update_thing_shadow(thingName=thing, shadowName=name, payload=state)
    first = data.list_named_shadows_for_thing(thingName=thing, pageSize=2)
    second = data.list_named_shadows_for_thing(thingName=thing, pageSize=2, nextToken=first["nextToken"])
    assert (first["results"], second["results"], "nextToken" in second) == (["a", "b"], ["c"], False)


def test_deleted_shadows_are_gone(data, unique):
    thing = unique("light")
    state = json.dumps({"state": {"reported": {"on": True}}})
    data.update_thing_shadow(thingName=thing, payload=state)
    data.update_thing_shadow(thingName=thing, shadowName="a", payload=state)
    data.delete_thing_shadow(thingName=thing)
    data.delete_thing_shadow(thingName=thing, shadowName="a")
    assert data.list_named_shadows_for_thing(thingName=thing)["results"] == []
    with refused("ResourceNotFoundException"):
        data.get_thing_shadow(thingName=thing)


def test_an_empty_retained_message_deletes(data, unique):
    topic = f"things/{unique('light')}/state"
    data.publish(topic=topic, payload=b"on", retain=True, qos=1)
    assert data.get_retained_message(topic=topic)["payload"] == b"on"
    assert topic in {one["topic"] for one in data.list_retained_messages()["retainedTopics"]}
    data.publish(topic=topic, payload=b"", retain=True, qos=1)
    with refused("ResourceNotFoundException"):
        data.get_retained_message(topic=topic)


def test_retaining_needs_a_permission_of_its_own(cloud, unique):
    topic = f"things/{unique('light')}/state"
    resource = f"arn:aws:iot:{cloud.region}:{cloud.account}:topic/{topic}"
    publish = {"Effect": "Allow", "Action": "iot:Publish", "Resource": resource}
    retain = {"Effect": "Allow", "Action": "iot:RetainPublish", "Resource": resource}
    plain = cloud.as_role(unique("role"), [publish])("iot-data")
    plain.publish(topic=topic, payload=b"on", qos=1)
    with refused("ForbiddenException"):
        plain.publish(topic=topic, payload=b"on", retain=True, qos=1)
    cloud.as_role(unique("role"), [publish, retain])("iot-data").publish(topic=topic, payload=b"on", retain=True, qos=1)
