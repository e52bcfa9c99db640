"""AWS: a device needs a registered, ACTIVE certificate, and its connection does not outlive it."""

from __future__ import annotations

import http.client

import pytest

from local.tests.mqtt_device import Device, allow_all, new_identity
from local.tests.own_authority import DAY, Authority


def test_an_active_certificate_with_a_policy_connects(cloud, unique, tmp_path):
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("light"), identity) as device:
        assert device.connect()


def test_a_client_without_a_certificate_is_refused(cloud, unique):
    with Device(cloud, unique("light"), None) as device:
        assert not device.connect()


def test_a_certificate_that_is_not_registered_is_refused(cloud, unique, tmp_path):
    _, stranger = Authority(tmp_path).issue()
    with Device(cloud, unique("light"), stranger) as device:
        assert not device.connect()


def test_a_certificate_of_any_authority_connects_while_it_is_registered_and_active(cloud, unique, tmp_path):
    iot, identity = cloud.client("iot"), Authority(tmp_path).registered(cloud)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("light"), identity) as device:
        assert device.connect()
        iot.update_certificate(certificateId=identity.certificate_id, newStatus="INACTIVE")
        assert device.disconnected.wait(2)
    with Device(cloud, unique("light"), identity) as device:
        assert not device.connect()
    iot.update_certificate(certificateId=identity.certificate_id, newStatus="ACTIVE")
    with Device(cloud, unique("light"), identity) as device:
        assert device.connect()
    iot.update_certificate(certificateId=identity.certificate_id, newStatus="INACTIVE")
    iot.delete_certificate(certificateId=identity.certificate_id, forceDelete=True)
    with Device(cloud, unique("light"), identity) as device:
        assert not device.connect()


def test_only_a_certificate_registered_without_its_authority_needs_the_servers_name(cloud, unique, tmp_path):
    for identity, welcome in ((Authority(tmp_path).registered(cloud), False), (new_identity(cloud, tmp_path), True)):
        allow_all(cloud, unique("all"), identity.arn)
        with Device(cloud, unique("light"), identity, host="127.0.0.1") as device:
            assert device.connect() is welcome


@pytest.mark.parametrize("times", [{"begins": -2 * DAY, "ends": -DAY}, {"begins": DAY, "ends": 2 * DAY}])
def test_a_certificate_out_of_its_time_is_refused(cloud, unique, tmp_path, times):
    identity = Authority(tmp_path).registered(cloud, **times)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("light"), identity) as device:
        assert not device.connect()


def test_both_certificates_of_a_thing_connect_while_both_are_active(cloud, unique, tmp_path):
    iot, thing, policy = cloud.client("iot"), unique("light"), unique("all")
    old, new = new_identity(cloud, tmp_path), Authority(tmp_path).registered(cloud)
    iot.create_thing(thingName=thing)
    allow_all(cloud, policy, old.arn)
    iot.attach_policy(policyName=policy, target=new.arn)
    for identity in (old, new):
        iot.attach_thing_principal(thingName=thing, principal=identity.arn)
    with Device(cloud, thing, old) as device:
        assert device.connect()
        with Device(cloud, thing, new) as again:
            assert again.connect()
            # The same client id takes the connection over.
            assert device.disconnected.wait(2)
            iot.update_certificate(certificateId=old.certificate_id, newStatus="INACTIVE")
            assert not again.disconnected.wait(0.6)


@pytest.mark.parametrize("status", ["INACTIVE", "REVOKED"])
def test_a_certificate_that_is_not_active_is_refused(cloud, unique, tmp_path, status):
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    cloud.client("iot").update_certificate(certificateId=identity.certificate_id, newStatus=status)
    with Device(cloud, unique("light"), identity) as device:
        assert not device.connect()


@pytest.mark.parametrize("status", ["INACTIVE", "REVOKED"])
def test_a_live_session_ends_when_its_certificate_is_deactivated(cloud, unique, tmp_path, status):
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("light"), identity) as device:
        assert device.connect()
        cloud.client("iot").update_certificate(certificateId=identity.certificate_id, newStatus=status)
        assert device.disconnected.wait(2)


def test_a_live_session_ends_when_its_certificate_is_detached(cloud, unique, tmp_path):
    iot, thing, identity = cloud.client("iot"), unique("light"), new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    iot.create_thing(thingName=thing)
    iot.attach_thing_principal(thingName=thing, principal=identity.arn)
    with Device(cloud, thing, identity) as device:
        assert device.connect()
        iot.detach_thing_principal(thingName=thing, principal=identity.arn)
        assert device.disconnected.wait(2)


def test_an_unsigned_websocket_is_refused(cloud):
    connection = http.client.HTTPConnection(cloud.endpoint.removeprefix("http://"), timeout=5)
    connection.request("GET", "/mqtt", headers={
        "Host": f"x-ats.iot.{cloud.region}.amazonaws.com",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol": "mqtt",
    })
    assert connection.getresponse().status == 403
