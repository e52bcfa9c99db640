"""AWS: which states a certificate can be put in, and what keeps it from being deleted."""

from __future__ import annotations

import pytest

from local.tests.iot_refusals import refused
from local.tests.mqtt_device import allow_all, new_identity


@pytest.mark.parametrize("status", ["PENDING_TRANSFER", "PENDING_ACTIVATION", "REGISTER_INACTIVE"])
def test_pending_states_cannot_be_set(cloud, tmp_path, status):
    identity = new_identity(cloud, tmp_path)
    with refused("InvalidRequestException"):
        cloud.client("iot").update_certificate(certificateId=identity.certificate_id, newStatus=status)


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
