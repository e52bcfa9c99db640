"""Certificates of our own authority connect, and go on connecting when the
authority is followed by the next one. Through `lamp`, as an operator does it.

Run by `make test-system`; LAMPLIGHTER_OUTPUTS names the stack.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA256

from local import demo_mqtt as mqtt
from local.clients import client

ROOT = Path(__file__).parent.parent
OUTPUTS = Path(os.environ.get("LAMPLIGHTER_OUTPUTS", ROOT / ".local/outputs.json"))


def lamp(*words: object, expect: int = 0) -> list[dict[str, Any]]:
    """One call of the command line; what it says as JSON."""
    ran = subprocess.run(
        [ROOT / "target/local/lamp", "--outputs", OUTPUTS, "--output", "json", *map(str, words)],
        capture_output=True, text=True, check=False,
    )
    assert ran.returncode == expect, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def broker() -> mqtt.Broker:
    assert OUTPUTS.exists(), f"no cloud to test: {OUTPUTS} is missing; run `make test-system`"
    outputs = json.loads(OUTPUTS.read_text())
    return mqtt.Broker(outputs["mqtt_host"], int(outputs["mqtt_port"]), Path(outputs["mqtt_ca"]))


def light(folder: Path, *options: str) -> tuple[str, mqtt.Identity]:
    """A new light, by its own key."""
    name = f"light-{uuid.uuid4().hex[:8]}"
    [made] = lamp("device", "create", name, "--keys-dir", folder, *options)
    return name, mqtt.Identity(Path(made["certificatePath"]), Path(made["keyPath"]))


def connects(broker: mqtt.Broker, name: str, identity: mqtt.Identity) -> str | None:
    """Why the light is refused; nothing if it is not."""
    with mqtt.Connection(broker, identity, name) as connection:
        return connection.refusal


def signed_by(authority: dict[str, Any], identity: mqtt.Identity) -> bool:
    issuer = x509.load_pem_x509_certificate(authority["certificatePem"].encode())
    certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    try:
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return False
    return True


def issued(pem: bytes) -> str:
    """The id of the authority that a certificate is of: its authority key identifier."""
    extensions = x509.load_pem_x509_certificate(pem).extensions
    identifier = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier is not None
    return identifier.hex()


def renewed(name: str, identity: mqtt.Identity) -> set[bytes]:
    """The certificates attached to a light once a rotation has issued it a new one, as PEM.
    The workflow's calls and the light's request come straight to the function."""
    outputs = json.loads(OUTPUTS.read_text())
    call, iot = client("lambda", outputs["aws_endpoint"]), client("iot", outputs["aws_endpoint"])
    old = x509.load_pem_x509_certificate(identity.certificate.read_bytes()).fingerprint(SHA256()).hex()
    rotation = {"rotationId": f"op-{uuid.uuid4().hex}", "thingName": name}
    request = {
        **rotation, "csr": mqtt.signing_request(mqtt.new_key(), name), "principal": old,
        "clientId": name, "topicThing": name, "topicWord": "request",
    }
    for event in (rotation, request, rotation):
        answer = call.invoke(FunctionName=outputs["stack"]["RenewCertificateFunction"], Payload=json.dumps(event))
        assert "FunctionError" not in answer, answer["Payload"].read()
    ids = [arn.rpartition("/")[2] for arn in iot.list_thing_principals(thingName=name)["principals"]]
    assert len(ids) == 2 and old in ids, "both are in force until the new one is proved"
    return {
        iot.describe_certificate(certificateId=each)["certificateDescription"]["certificatePem"].encode()
        for each in ids
    }


def test_lights_of_both_authorities_connect(broker: mqtt.Broker, tmp_path: Path) -> None:
    lamp("ca", "init", "--subject", "Test lights")
    before = lamp("ca", "list")[0]["items"]
    old, foreign = light(tmp_path, "--issuer", "kms-ca"), light(tmp_path, "--issuer", "aws-iot")
    replaced = before[-1]["authorityId"]
    [active] = lamp("ca", "rotate", "--replaces", replaced)
    [again] = lamp("ca", "rotate", "--replaces", replaced)
    assert again == {**active, "created": False}, "repeated, it makes no third"
    [refusal] = lamp("ca", "rotate", expect=3)
    assert refusal["error"]["code"] == "Conflict", "the third waits until the first has ended"

    after = lamp("ca", "list")[0]["items"]
    assert [(each["status"], each["authorityId"]) for each in after] == [
        ("ACTIVE", active["authorityId"]), ("RETIRING", replaced)]
    new = light(tmp_path, "--issuer", "kms-ca")
    assert [signed_by(each, new[1]) for each in after] == [True, False], "the newest signs"
    # A cloud that has been tested before had followed its authority already.
    assert signed_by(before[0], old[1])
    for name, identity in (old, foreign, new):
        assert connects(broker, name, identity) is None, name

    name, identity = old
    keys = {issued(pem) for pem in renewed(name, identity)}
    assert keys == {each["authorityId"] for each in after}, "what the successor renews is its own"
    forged = mqtt.keep(tmp_path, f"{name}-forged", key := mqtt.new_key(), mqtt.self_signed(key, name))
    assert connects(broker, name, forged), "a certificate that nobody registered is refused"
    lamp("device", "delete", name, "--wait")
    assert connects(broker, name, identity), "a deleted light's certificate is refused"
