"""AWS: which states a certificate can be put in, and what keeps it from being deleted."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from local.tests.iot_refusals import refused
from local.tests.mqtt_device import allow_all, new_identity
from local.tests.own_authority import Authority


@pytest.mark.parametrize("status", ["PENDING_TRANSFER", "PENDING_ACTIVATION", "REGISTER_INACTIVE"])
def test_pending_states_cannot_be_set(cloud, tmp_path, status):
    identity = new_identity(cloud, tmp_path)
    with refused("InvalidRequestException"):
        cloud.client("iot").update_certificate(certificateId=identity.certificate_id, newStatus=status)


def test_a_revoked_certificate_stays_revoked(cloud, tmp_path):
    iot, identity = cloud.client("iot"), new_identity(cloud, tmp_path)
    for _ in range(2):
        iot.update_certificate(certificateId=identity.certificate_id, newStatus="REVOKED")
    for status in ("ACTIVE", "INACTIVE"):
        with refused("CertificateStateException"):
            iot.update_certificate(certificateId=identity.certificate_id, newStatus=status)
    iot.delete_certificate(certificateId=identity.certificate_id)


@pytest.mark.parametrize("status", ["ACTIVE", "INACTIVE"])
def test_a_certificate_of_any_authority_can_be_registered_once(cloud, tmp_path, status):
    iot, (pem, identity) = cloud.client("iot"), Authority(tmp_path).issue()
    made = iot.register_certificate_without_ca(certificatePem=pem, status=status)
    assert made["certificateId"] == identity.certificate_id
    shown = iot.describe_certificate(certificateId=identity.certificate_id)["certificateDescription"]
    assert (shown["status"], shown["certificateMode"], shown["certificatePem"]) == (status, "SNI_ONLY", pem)
    with pytest.raises(iot.exceptions.ResourceAlreadyExistsException) as again:
        iot.register_certificate_without_ca(certificatePem=pem, status=status)
    assert (again.value.response["resourceId"], again.value.response["resourceArn"]) == (
        identity.certificate_id, made["certificateArn"])


@pytest.mark.parametrize("status", ["PENDING_TRANSFER", "REGISTER_INACTIVE"])
def test_pending_states_cannot_be_registered(cloud, tmp_path, status):
    pem, _ = Authority(tmp_path).issue()
    with refused("InvalidRequestException"):
        cloud.client("iot").register_certificate_without_ca(certificatePem=pem, status=status)


@pytest.mark.parametrize("how", [
    {"key": rsa.generate_private_key(65537, 1024)},
    {"key": ec.generate_private_key(ec.SECP256K1())},
    {"digest": hashes.SHA224()},
])
def test_weak_certificates_are_refused(cloud, tmp_path, how):
    pem, _ = Authority(tmp_path).issue(**how)
    with refused("CertificateValidationException"):
        cloud.client("iot").register_certificate_without_ca(certificatePem=pem, status="ACTIVE")


def test_deleting_needs_inactive_without_things_and_without_policies(cloud, unique, tmp_path):
    iot, identity, thing, policy = cloud.client("iot"), new_identity(cloud, tmp_path), unique("light"), unique("all")
    which = {"certificateId": identity.certificate_id}
    iot.create_thing(thingName=thing)
    iot.attach_thing_principal(thingName=thing, principal=identity.arn)
    allow_all(cloud, policy, identity.arn)
    with refused("CertificateStateException"):
        iot.delete_certificate(**which, forceDelete=True)
    iot.update_certificate(**which, newStatus="INACTIVE")
    with refused("DeleteConflictException"):
        iot.delete_certificate(**which, forceDelete=True)
    iot.detach_thing_principal(thingName=thing, principal=identity.arn)
    with refused("DeleteConflictException"):
        iot.delete_certificate(**which)
    iot.delete_certificate(**which, forceDelete=True)
    assert iot.list_targets_for_policy(policyName=policy)["targets"] == []
