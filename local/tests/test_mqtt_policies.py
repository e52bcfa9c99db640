"""AWS: a connection's policies are its certificate's own and, as a thing, those of its groups and their parents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.tests.conftest import Cloud, policy_document
from local.tests.mqtt_device import Device, Identity, new_identity

ARN = "arn:aws:iot:us-east-1:000000000000"
THING = "${iot:Connection.Thing.ThingName}"

DEVICE_POLICY = [
    {
        "Effect": "Allow",
        "Action": "iot:Connect",
        "Resource": f"{ARN}:client/{THING}",
        "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}},
    },
    {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": f"{ARN}:topic/things/{THING}/*"},
    {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": f"{ARN}:topicfilter/things/{THING}/*"},
]


@dataclass
class Fleet:
    """Makes things, groups and policies for one test."""

    cloud: Cloud
    unique: Callable[[str], str]
    folder: Path

    @property
    def iot(self) -> Any:
        return self.cloud.client("iot")

    def thing(self, *groups: str, **attributes: str) -> str:
        name = self.unique("light")
        self.iot.create_thing(thingName=name, attributePayload={"attributes": attributes})
        for group in groups:
            self.iot.add_thing_to_thing_group(thingGroupName=group, thingName=name)
        return name

    def group(self, statements: list[dict[str, Any]] | None, parent: str | None = None) -> str:
        name = self.unique("group")
        arn = self.iot.create_thing_group(thingGroupName=name, **({"parentGroupName": parent} if parent else {}))[
            "thingGroupArn"
        ]
        if statements:
            self.policy(statements, arn)
        return name

    def policy(self, statements: list[dict[str, Any]], target: str) -> str:
        name = self.unique("policy")
        self.iot.create_policy(policyName=name, policyDocument=policy_document(statements))
        self.iot.attach_policy(policyName=name, target=target)
        return name

    def identity(self, thing: str | None = None, kind: str = "NON_EXCLUSIVE_THING") -> Identity:
        identity = new_identity(self.cloud, self.folder)
        if thing:
            self.iot.attach_thing_principal(thingName=thing, principal=identity.arn, thingPrincipalType=kind)
        return identity

    def connects(self, client_id: str, identity: Identity) -> bool:
        with Device(self.cloud, client_id, identity) as device:
            return device.connect()


@pytest.fixture
def fleet(cloud, unique, tmp_path) -> Fleet:
    return Fleet(cloud, unique, tmp_path)


def test_a_certificate_without_any_policy_is_refused(fleet):
    thing = fleet.thing()
    assert not fleet.connects(thing, fleet.identity(thing))


def test_a_group_policy_reaches_a_certificate_through_its_thing(fleet):
    thing = fleet.thing(fleet.group(DEVICE_POLICY))
    assert fleet.connects(thing, fleet.identity(thing))


def test_a_parent_groups_policy_counts(fleet):
    thing = fleet.thing(fleet.group(None, parent=fleet.group(DEVICE_POLICY)))
    assert fleet.connects(thing, fleet.identity(thing))


def test_a_certificate_is_powerless_until_attached(fleet):
    thing = fleet.thing(fleet.group(DEVICE_POLICY))
    identity = fleet.identity()
    assert not fleet.connects(thing, identity)
    fleet.iot.attach_thing_principal(thingName=thing, principal=identity.arn)
    assert fleet.connects(thing, identity)


def test_a_certificate_is_powerless_once_its_thing_leaves_the_group(fleet):
    group = fleet.group(DEVICE_POLICY)
    thing = fleet.thing(group)
    identity = fleet.identity(thing)
    assert fleet.connects(thing, identity)
    fleet.iot.remove_thing_from_thing_group(thingGroupName=group, thingName=thing)
    assert not fleet.connects(thing, identity)


@pytest.mark.parametrize("kind", ["NON_EXCLUSIVE_THING", "EXCLUSIVE_THING"])
def test_group_policies_apply_only_while_the_client_id_is_the_thing_name(fleet, kind):
    anyone = [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]
    thing = fleet.thing(fleet.group(anyone))
    identity = fleet.identity(thing, kind)
    assert fleet.connects(thing, identity)
    assert not fleet.connects(fleet.unique("another"), identity)
    assert not fleet.connects(fleet.thing(fleet.group(anyone)), identity)


def test_a_deny_wins_wherever_it_stands(fleet):
    parent = fleet.group(DEVICE_POLICY)
    thing = fleet.thing(fleet.group([{"Effect": "Deny", "Action": "iot:Connect", "Resource": "*"}], parent=parent))
    assert not fleet.connects(thing, fleet.identity(thing))


@pytest.mark.parametrize(("action", "resource"), [
    ("iot:Connect", "client/*"), ("iot:Publish", "topic/*"), ("iot:Subscribe", "topicfilter/*"),
])
def test_a_deny_attached_to_the_certificate_wins_over_its_groups_at_once(fleet, action, resource):
    thing = fleet.thing(fleet.group([{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]))
    identity = fleet.identity(thing)

    def can() -> dict[str, bool]:
        with Device(fleet.cloud, thing, identity) as device:
            if not device.connect():
                return {"iot:Connect": False}
            return {"iot:Connect": True, "iot:Publish": device.publish("a/b", {}), "iot:Subscribe": device.subscribe("a/b")}

    assert all(can().values())
    policy = fleet.policy([{"Effect": "Deny", "Action": action, "Resource": f"{ARN}:{resource}"}], identity.arn)
    assert can()[action] is False
    fleet.iot.detach_policy(policyName=policy, target=identity.arn)
    assert all(can().values())


def test_a_live_connection_is_held_to_a_deny_attached_meanwhile(fleet):
    thing = fleet.thing(fleet.group([{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]))
    identity = fleet.identity(thing)
    with Device(fleet.cloud, thing, identity) as device:
        assert device.connect()
        assert device.publish("a/b", {})
        fleet.policy([{"Effect": "Deny", "Action": "iot:Publish", "Resource": "*"}], identity.arn)
        assert not device.publish("a/b", {})


def test_a_device_is_held_to_its_own_topics(fleet):
    group = fleet.group(DEVICE_POLICY)
    thing, other = fleet.thing(group), fleet.thing(group)
    with Device(fleet.cloud, thing, fleet.identity(thing)) as device:
        assert device.connect()
        assert device.subscribe(f"things/{thing}/in")
        assert not device.subscribe(f"things/{other}/in")
        assert not device.subscribe("#")
        assert device.publish(f"things/{thing}/in", {"a": 1})
        assert device.receive() == (f"things/{thing}/in", {"a": 1})
        assert not device.publish(f"things/{other}/in", {"a": 1})
        assert not device.publish(f"things/{thing}/in", "x", retain=True)


def test_receive_is_authorised_message_by_message(fleet):
    thing = fleet.thing()
    identity = fleet.identity(thing)
    fleet.policy([
        {"Effect": "Allow", "Action": ["iot:Connect", "iot:Subscribe", "iot:Publish"], "Resource": "*"},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": f"{ARN}:topic/open/{thing}"},
    ], identity.arn)
    with Device(fleet.cloud, thing, identity) as device:
        assert device.connect()
        assert device.subscribe(f"+/{thing}")
        assert device.publish(f"closed/{thing}", {"a": 1})
        assert device.publish(f"open/{thing}", {"a": 2})
        assert device.receive() == (f"open/{thing}", {"a": 2})


def test_thing_variables_have_values_for_an_exclusive_attachment_under_any_client_id(fleet):
    thing = fleet.thing(city="milan")
    client_id = fleet.unique("client")
    for kind, accepted in (("NON_EXCLUSIVE_THING", False), ("EXCLUSIVE_THING", True)):
        identity = fleet.identity(thing, kind)
        fleet.policy([
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": "iot:Publish",
                "Resource": f"{ARN}:topic/${{iot:Connection.Thing.Attributes[city]}}/{THING}",
            },
        ], identity.arn)
        with Device(fleet.cloud, client_id, identity) as device:
            assert device.connect()
            assert device.publish(f"milan/{thing}", {}) is accepted


def test_certificate_variables(fleet):
    identity = new_identity(fleet.cloud, fleet.folder, common_name="lamp-7")
    named = f"{ARN}:client/${{iot:Certificate.Subject.CommonName}}"
    fleet.policy([{"Effect": "Allow", "Action": "iot:Connect", "Resource": named}], identity.arn)
    assert fleet.connects("lamp-7", identity)
    assert not fleet.connects(fleet.unique("lamp"), identity)


def test_a_client_id_with_a_wildcard_matches_nothing(fleet):
    identity = fleet.identity()
    fleet.policy([
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": f"{ARN}:topic/claims/${{iot:ClientId}}/request"},
    ], identity.arn)
    with Device(fleet.cloud, "*", identity) as device:
        assert device.connect()
        assert not device.publish("claims/somebody/request", {})
