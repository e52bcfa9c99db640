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
