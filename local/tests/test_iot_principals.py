"""AWS: an exclusive attachment is the certificate's only one, and the V2 lists tell the kind of each."""

from __future__ import annotations

import pytest

from local.tests.iot_refusals import refused
from local.tests.mqtt_device import new_identity

EXCLUSIVE, SHARED = "EXCLUSIVE_THING", "NON_EXCLUSIVE_THING"


@pytest.fixture
def attach(cloud, unique):
    iot = cloud.client("iot")

    def to(principal: str, kind: str | None = None, thing: str | None = None) -> str:
        name = thing or unique("light")
        iot.create_thing(thingName=name)
        iot.attach_thing_principal(
            thingName=name, principal=principal, **({"thingPrincipalType": kind} if kind else {}),
        )
        return name

    return to


@pytest.mark.parametrize(("first", "second"), [(EXCLUSIVE, EXCLUSIVE), (EXCLUSIVE, SHARED), (SHARED, EXCLUSIVE)])
def test_an_exclusive_attachment_has_no_other_beside_it(cloud, tmp_path, attach, first, second):
    principal = new_identity(cloud, tmp_path).arn
    attach(principal, first)
    with refused("InvalidRequestException"):
        attach(principal, second)


def test_without_exclusivity_a_certificate_has_many_things(cloud, tmp_path, attach):
    principal = new_identity(cloud, tmp_path).arn
    things = {attach(principal), attach(principal)}
    assert set(cloud.client("iot").list_principal_things(principal=principal)["things"]) == things


def test_attaching_again_in_the_same_way_changes_nothing(cloud, tmp_path, attach):
    principal = new_identity(cloud, tmp_path).arn
    thing = attach(principal, EXCLUSIVE)
    attach(principal, EXCLUSIVE, thing)
    with refused("InvalidRequestException"):
        attach(principal, SHARED, thing)


def test_a_detached_certificate_can_be_attached_exclusively_elsewhere(cloud, tmp_path, attach):
    principal = new_identity(cloud, tmp_path).arn
    thing = attach(principal, EXCLUSIVE)
    cloud.client("iot").detach_thing_principal(thingName=thing, principal=principal)
    attach(principal, EXCLUSIVE)


def test_the_v2_lists_tell_the_kind(cloud, tmp_path, attach):
    iot = cloud.client("iot")
    exclusive, shared = new_identity(cloud, tmp_path).arn, new_identity(cloud, tmp_path).arn
    thing = attach(exclusive, EXCLUSIVE)
    attach(shared, None, thing)
    found = iot.list_thing_principals_v2(thingName=thing)["thingPrincipalObjects"]
    assert {one["principal"]: one["thingPrincipalType"] for one in found} == {exclusive: EXCLUSIVE, shared: SHARED}
    only = iot.list_thing_principals_v2(thingName=thing, thingPrincipalType=EXCLUSIVE)["thingPrincipalObjects"]
    assert [one["principal"] for one in only] == [exclusive]
    assert iot.list_principal_things_v2(principal=exclusive)["principalThingObjects"] == [
        {"thingName": thing, "thingPrincipalType": EXCLUSIVE}
    ]
