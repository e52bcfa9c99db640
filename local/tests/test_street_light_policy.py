"""The example's policy lets a light speak of its own jobs, shadow and certificate, and of nobody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from local.tests.mqtt_device import Device, new_identity

CATALOG = Path(__file__).parents[2] / "examples/street-lights/catalog.yaml"

SAID = ["$aws/things/{}/jobs/$next/get", "$aws/things/{}/jobs/a-job/update", "$aws/things/{}/shadow/update",
        "lamplighter/things/{}/certificate/request"]
HEARD = ["$aws/things/{}/jobs/notify-next", "$aws/things/{}/jobs/+/get/+", "$aws/things/{}/jobs/+/update/+",
         "lamplighter/things/{}/certificate/renew", "$aws/things/{}/tunnels/notify"]
NOBODYS = ["$aws/things/+/jobs/notify-next", "$aws/things/#", "$aws/events/job/#", "#"]


@pytest.fixture
def light(cloud, unique, tmp_path):
    """A light in a group that bears the policy, as a catalog makes it."""
    declared = yaml.safe_load(CATALOG.read_text())["policies"][0]
    document = json.dumps(declared["document"], separators=(",", ":"))
    # AWS: "Maximum policy document size", without white space.
    assert len(document) <= 2048
    iot, policy, group, thing = cloud.client("iot"), unique("policy"), unique("group"), unique("light")
    iot.create_policy(policyName=policy, policyDocument=document)
    arn = iot.create_thing_group(thingGroupName=group)["thingGroupArn"]
    iot.attach_policy(policyName=policy, target=arn)
    iot.create_thing(thingName=thing)
    iot.add_thing_to_thing_group(thingName=thing, thingGroupName=group)
    identity = new_identity(cloud, tmp_path)
    iot.attach_thing_principal(thingName=thing, principal=identity.arn)
    with Device(cloud, thing, identity) as device:
        assert device.connect()
        yield device


@pytest.mark.parametrize("topic", HEARD)
def test_it_hears_of_itself_and_of_nobody_else(light, unique, topic):
    assert light.subscribe(topic.format(light.client_id))
    assert not light.subscribe(topic.format(unique("other")))


@pytest.mark.parametrize("topic", NOBODYS)
def test_it_hears_nothing_that_is_of_all(light, topic):
    assert not light.subscribe(topic)


def test_it_gives_itself_no_tunnel(light):
    assert not light.publish(f"$aws/things/{light.client_id}/tunnels/notify", {})


@pytest.mark.parametrize("topic", SAID)
def test_it_speaks_of_itself_and_of_nobody_else(light, unique, topic):
    assert light.publish(topic.format(light.client_id), {})
    assert not light.publish(topic.format(unique("other")), {})
