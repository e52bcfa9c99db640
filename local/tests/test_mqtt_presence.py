"""AWS: presence events are always on, and name the thing of an exclusive attachment only."""

from __future__ import annotations

import pytest

from local.tests.mqtt_device import Device, allow_all, new_identity


@pytest.mark.parametrize("kind", ["EXCLUSIVE_THING", "NON_EXCLUSIVE_THING"])
def test_connect_and_disconnect_are_told(cloud, unique, tmp_path, kind):
    iot, thing = cloud.client("iot"), unique("light")
    watcher, light = new_identity(cloud, tmp_path), new_identity(cloud, tmp_path)
    for identity in (watcher, light):
        allow_all(cloud, unique("all"), identity.arn)
    iot.create_thing(thingName=thing)
    iot.attach_thing_principal(thingName=thing, principal=light.arn, thingPrincipalType=kind)
    with Device(cloud, unique("watcher"), watcher) as watching:
        assert watching.connect()
        assert watching.subscribe(f"$aws/events/presence/+/{thing}")
        with Device(cloud, thing, light) as device:
            assert device.connect()
        connected, disconnected = watching.receive(), watching.receive()
    assert connected[0] == f"$aws/events/presence/connected/{thing}"
    assert disconnected[0] == f"$aws/events/presence/disconnected/{thing}"
    for _, event in (connected, disconnected):
        assert event["clientId"] == thing
        assert event["principalIdentifier"] == light.certificate_id
        assert event.get("thingName") == (thing if kind == "EXCLUSIVE_THING" else None)
    assert disconnected[1]["disconnectReason"] == "CLIENT_INITIATED_DISCONNECT"


def test_the_two_events_of_a_connection_belong_together(cloud, unique, tmp_path):
    watcher, light, name = new_identity(cloud, tmp_path), new_identity(cloud, tmp_path), unique("light")
    for identity in (watcher, light):
        allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("watcher"), watcher) as watching:
        assert watching.connect()
        assert watching.subscribe(f"$aws/events/presence/+/{name}")
        events = []
        for _ in range(2):
            with Device(cloud, name, light) as device:
                assert device.connect()
            events += [watching.receive()[1], watching.receive()[1]]
    common = {"clientId", "timestamp", "eventType", "sessionIdentifier", "principalIdentifier", "versionNumber"}
    assert [set(event) - common for event in events] == [
        {"ipAddress"}, {"clientInitiatedDisconnect", "disconnectReason"}] * 2
    sessions, versions = ([event[name] for event in events] for name in ("sessionIdentifier", "versionNumber"))
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3]
    assert versions[0] == versions[1] < versions[2] == versions[3]
    assert events[0]["timestamp"] <= events[1]["timestamp"] <= events[2]["timestamp"]


def test_a_revoked_certificate_is_no_disconnection_by_the_client(cloud, unique, tmp_path):
    watcher, light, name = new_identity(cloud, tmp_path), new_identity(cloud, tmp_path), unique("light")
    for identity in (watcher, light):
        allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("watcher"), watcher) as watching, Device(cloud, name, light) as device:
        assert watching.connect()
        assert watching.subscribe(f"$aws/events/presence/disconnected/{name}")
        assert device.connect()
        cloud.client("iot").update_certificate(certificateId=light.certificate_id, newStatus="REVOKED")
        event = watching.receive()[1]
    assert (event["clientInitiatedDisconnect"], event["disconnectReason"]) == (False, "AUTH_ERROR")
