"""AWS: a device needs a registered, ACTIVE certificate, and its connection does not outlive it."""

from __future__ import annotations

import datetime
import http.client

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.tests.mqtt_device import Device, Identity, allow_all, new_identity, write_key


def test_an_active_certificate_with_a_policy_connects(cloud, unique, tmp_path):
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("light"), identity) as device:
        assert device.connect()


def test_a_client_without_a_certificate_is_refused(cloud, unique):
    with Device(cloud, unique("light"), None) as device:
        assert not device.connect()


def test_a_certificate_that_is_not_registered_is_refused(cloud, unique, tmp_path):
    with Device(cloud, unique("light"), _stranger(tmp_path)) as device:
        assert not device.connect()


@pytest.mark.parametrize("status", ["INACTIVE", "REVOKED"])
def test_a_certificate_that_is_not_active_is_refused(cloud, unique, tmp_path, status):
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    cloud.client("iot").update_certificate(certificateId=identity.certificate_id, newStatus=status)
    with Device(cloud, unique("light"), identity) as device:
        assert not device.connect()


def test_a_live_session_ends_when_its_certificate_is_deactivated(cloud, unique, tmp_path):
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("light"), identity) as device:
        assert device.connect()
        cloud.client("iot").update_certificate(certificateId=identity.certificate_id, newStatus="INACTIVE")
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


def _stranger(folder) -> Identity:
    """A self-signed certificate that AWS IoT has never seen."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = folder / "stranger.crt", folder / "stranger.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    write_key(key, files[1])
    return Identity("", "", *files)
