"""AWS: registry events are off until UpdateEventConfigurations turns them on, and it leaves the others as they are."""

from __future__ import annotations

from local.tests.mqtt_device import Device, allow_all, new_identity


def test_events_come_only_when_enabled(cloud, unique, tmp_path):
    iot, identity, group = cloud.client("iot"), new_identity(cloud, tmp_path), unique("group")
    allow_all(cloud, unique("all"), identity.arn)
    iot.create_thing_group(thingGroupName=group)
    with Device(cloud, unique("watcher"), identity) as watcher:
        assert watcher.connect()
        assert watcher.subscribe("$aws/events/thing/#")
        assert watcher.subscribe("$aws/events/thingGroupMembership/#")
        iot.create_thing(thingName=unique("light"))
        assert watcher.hears_nothing()

        iot.update_event_configurations(eventConfigurations={"THING": {"Enabled": True}})
        iot.update_event_configurations(eventConfigurations={"THING_GROUP_MEMBERSHIP": {"Enabled": True}})
        try:
            thing = unique("light")
            iot.create_thing(thingName=thing)
            topic, event = watcher.receive()
            assert (topic, event["operation"]) == (f"$aws/events/thing/{thing}/created", "CREATED")
            iot.add_thing_to_thing_group(thingGroupName=group, thingName=thing)
            assert watcher.receive()[0] == (
                f"$aws/events/thingGroupMembership/thingGroup/{group}/thing/{thing}/added"
            )
        finally:
            off = {"THING": {"Enabled": False}, "THING_GROUP_MEMBERSHIP": {"Enabled": False}}
            iot.update_event_configurations(eventConfigurations=off)
