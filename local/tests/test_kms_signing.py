"""AWS: a key on a curve signs, for whoever may and as he may, and does nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from local.deploy import Deployment, deploy
from local.deploy_check import check
from local.settings import StateDir
from local.tests.conftest import policy_document
from local.tests.iot_refusals import refused

SIGNER = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
DIGEST = hashlib.sha256(b"to be signed").digest()
BY_DIGEST = {"Message": DIGEST, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}


@pytest.fixture
def kms(cloud) -> Any:
    return cloud.client("kms")


@pytest.fixture
def signer(kms) -> str:
    return kms.create_key(**SIGNER)["KeyMetadata"]["Arn"]


def test_a_digests_signature_is_der_and_fits_the_public_key(kms, signer):
    shown = kms.get_public_key(KeyId=signer)
    assert (shown["KeyId"], shown["KeySpec"], shown["KeyUsage"]) == (signer, "ECC_NIST_P256", "SIGN_VERIFY")
    assert shown["SigningAlgorithms"] == ["ECDSA_SHA_256"]
    public = serialization.load_der_public_key(shown["PublicKey"])
    signature = kms.sign(KeyId=signer, **BY_DIGEST)["Signature"]
    public.verify(signature, DIGEST, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    raw = kms.sign(KeyId=signer, Message=b"to be signed", SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    public.verify(raw, b"to be signed", ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(("call", "parameters", "code"), [
    ("sign", {**BY_DIGEST, "Message": DIGEST[:-1]}, "ValidationException"),
    ("sign", {**BY_DIGEST, "SigningAlgorithm": "ECDSA_SHA_384"}, "InvalidKeyUsageException"),
    ("sign", {"Message": bytes(4097), "SigningAlgorithm": "ECDSA_SHA_256"}, "ValidationException"),
    ("encrypt", {"Plaintext": b"a"}, "InvalidKeyUsageException"),
    ("generate_data_key", {"KeySpec": "AES_256"}, "InvalidKeyUsageException"),
    ("get_key_rotation_status", {}, "UnsupportedOperationException"),
    ("enable_key_rotation", {}, "UnsupportedOperationException"),
])
def test_what_a_signer_does_not_do(kms, signer, call, parameters, code):
    with refused(code):
        getattr(kms, call)(KeyId=signer, **parameters)


def test_a_key_that_encrypts_does_not_sign_and_has_no_public_half(kms):
    key = kms.create_key()["KeyMetadata"]["Arn"]
    with refused("InvalidKeyUsageException"):
        kms.sign(KeyId=key, **BY_DIGEST)
    with refused("UnsupportedOperationException"):
        kms.get_public_key(KeyId=key)


@pytest.mark.parametrize("made", [
    {"KeySpec": "ECC_NIST_P256"}, {"KeySpec": "ECC_NIST_P256", "KeyUsage": "ENCRYPT_DECRYPT"}, {"KeyUsage": "SIGN_VERIFY"},
])
def test_a_usage_that_the_spec_has_not_is_refused(kms, made):
    with refused("ValidationException"):
        kms.create_key(**made)


def test_a_disabled_key_neither_signs_nor_shows_itself(kms, signer):
    kms.disable_key(KeyId=signer)
    for call in (lambda: kms.sign(KeyId=signer, **BY_DIGEST), lambda: kms.get_public_key(KeyId=signer)):
        with refused("DisabledException"):
            call()


@pytest.mark.parametrize(("condition", "allowed"), [
    ({}, True),
    ({"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_256"}}, True),
    ({"StringEquals": {"kms:SigningAlgorithm": "ECDSA_SHA_384"}}, False),
    ({"StringEquals": {"kms:MessageType": "DIGEST"}}, True),
    ({"StringEquals": {"kms:MessageType": "RAW"}}, False),
    ({"StringEquals": {"kms:KeySpec": "ECC_NIST_P256", "kms:KeyUsage": "SIGN_VERIFY"}}, True),
    ({"StringEquals": {"kms:RequestAlias": "alias/other"}}, False),
])
def test_a_role_signs_under_its_conditions(cloud, unique, signer, condition, allowed):
    statement = {"Effect": "Allow", "Action": "kms:Sign", "Resource": signer, "Condition": condition}
    client = cloud.as_role(unique("signer"), [statement])("kms")
    if allowed:
        client.sign(KeyId=signer, **BY_DIGEST)
    else:
        with refused("AccessDeniedException"):
            client.sign(KeyId=signer, **BY_DIGEST)
    with refused("AccessDeniedException"):
        client.get_public_key(KeyId=signer)


def test_an_alias_stands_for_its_key(cloud, unique, kms, signer):
    alias, other = f"alias/{unique('ca')}", kms.create_key(**SIGNER)["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName=alias, TargetKeyId=signer)
    by_alias = {"StringEquals": {"kms:RequestAlias": alias}}
    for resource, condition, allowed in ((signer, {}, True), (signer, by_alias, True), (other, {}, False)):
        statement = {"Effect": "Allow", "Action": "kms:Sign", "Resource": resource, "Condition": condition}
        client = cloud.as_role(unique("signer"), [statement])("kms")
        if allowed:
            client.sign(KeyId=alias, **BY_DIGEST)
        else:
            with refused("AccessDeniedException"):
                client.sign(KeyId=alias, **BY_DIGEST)


def test_a_template_makes_one_and_the_check_reads_it(cloud, unique, tmp_path: Path):
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{cloud.account}:root"}, "Action": "kms:*", "Resource": "*"}
    resources = {
        "Signer": {"Type": "AWS::KMS::Key", "Properties": {**SIGNER, "KeyPolicy": yaml.safe_load(policy_document([root]))}},
        "Alias": {"Type": "AWS::KMS::Alias", "Properties": {
            "AliasName": f"alias/{unique('ca')}", "TargetKeyId": {"Ref": "Signer"}}},
    }
    template = tmp_path / "template.yaml"
    template.write_text(yaml.safe_dump({"Resources": resources}))
    deployment, state = Deployment(cloud.endpoint, template, unique("signer"), {}), StateDir(tmp_path)
    deploy(deployment, state)
    assert check(deployment, state.packaged_template) > 0
