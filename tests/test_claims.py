"""Claims over MQTT, against the deployed stack: a new light with its batch's
certificate becomes a device, and nothing that it says carries authority.

Run by `make test-system`; LAMPLIGHTER_OUTPUTS names the stack.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local import demo_mqtt as mqtt
from local.clients import client

ROOT = Path(__file__).parent.parent
OUTPUTS = Path(os.environ.get("LAMPLIGHTER_OUTPUTS", ROOT / ".local/outputs.json"))
REFUSED = "this claim certificate may not claim that name"

CLAIM_POLICY = [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:*:*:client/*"},
    {
        "Effect": "Allow",
        "Action": "iot:Publish",
        "Resource": "arn:aws:iot:*:*:topic/lamplighter/claims/${iot:ClientId}/request",
    },
    {
        "Effect": "Allow",
        "Action": ["iot:Subscribe", "iot:Receive"],
        "Resource": [
            "arn:aws:iot:*:*:topicfilter/lamplighter/claims/${iot:ClientId}/*",
            "arn:aws:iot:*:*:topic/lamplighter/claims/${iot:ClientId}/*",
        ],
    },
]


@dataclass(frozen=True)
class Claimant:
    """A claim certificate, and what speaks with it."""

    certificate_id: str
    identity: mqtt.Identity
    broker: mqtt.Broker

    def claim(self, thing: str, csr: str) -> dict[str, Any]:
        """The answer to one claim, whichever topic it comes on."""
        nonce = uuid.uuid4().hex
        topic = f"lamplighter/claims/new-{nonce[:8]}"
        message = json.dumps({"thingName": thing, "csr": csr, "nonce": nonce}).encode()
        with mqtt.Connection(self.broker, self.identity, topic.rpartition("/")[2]) as connection:
            assert connection.refusal is None
            answer = connection.ask(f"{topic}/request", message, [f"{topic}/accepted", f"{topic}/rejected"])
        assert answer is not None, "no answer to the claim"
        verdict, payload = answer[0].rpartition("/")[2], json.loads(answer[1])
        assert payload.pop("nonce") == nonce
        return {"verdict": verdict, **payload}


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    assert OUTPUTS.exists(), f"no cloud to test: {OUTPUTS} is missing; run `make test-system`"
    return json.loads(OUTPUTS.read_text())


def lamp(*words: str, expect: int = 0) -> Any:
    """One call of the command line; what it says as JSON."""
    ran = subprocess.run(
        [ROOT / "target/local/lamp", "--outputs", OUTPUTS, "--output", "json", *words],
        capture_output=True, text=True, check=False,
    )
    assert ran.returncode == expect, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def claimant(outputs: dict[str, Any], folder: Path, policy: str) -> Claimant:
    iot = client("iot", outputs["aws_endpoint"])
    made = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_policy(policyName=policy, target=made["certificateArn"])
    files = [folder / f"{made['certificateId'][:8]}.{kind}.pem" for kind in ("cert", "key")]
    files[0].write_text(made["certificatePem"])
    files[1].write_text(made["keyPair"]["PrivateKey"])
    broker = mqtt.Broker(outputs["mqtt_host"], int(outputs["mqtt_port"]), Path(outputs["mqtt_ca"]))
    return Claimant(made["certificateId"], mqtt.Identity(*files), broker)


@pytest.fixture(scope="module")
def batch(outputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A profile, its claim certificate, a stranger's, and one announced name."""
    folder, name = tmp_path_factory.mktemp("claims"), f"batch-{uuid.uuid4().hex[:8]}"
    iot = client("iot", outputs["aws_endpoint"])
    policy = json.dumps({"Version": "2012-10-17", "Statement": CLAIM_POLICY})
    iot.create_policy(policyName=f"{name}-claim", policyDocument=policy)
    ours, stranger = (claimant(outputs, folder, f"{name}-claim") for _ in range(2))
    light = "arn:aws:iot:*:*:{}/${{iot:Connection.Thing.ThingName}}"
    document = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": light.format("client")},
        {
            "Effect": "Allow", "Action": ["iot:Publish", "iot:RetainPublish"],
            "Resource": "arn:aws:iot:*:*:topic/lamplighter/things/${iot:Connection.Thing.ThingName}/status",
        },
    ]}
    catalog = folder / "catalog.yaml"
    catalog.write_text(json.dumps({
        "name": name,
        "thingTypes": [{"name": name, "searchableAttributes": ["city"]}],
        "policies": [{"name": name, "document": document}],
        "groups": [{"name": name, "policies": [name]}],
        "billingGroups": [{"name": name}],
        "profiles": [{
            "name": name, "thingType": name, "groups": [name], "billingGroup": name, "attributes": {"city": "milan"},
            "claimCertificateIds": [ours.certificate_id],
            "retainedTopics": ["lamplighter/things/{thingName}/status"],
        }],
    }))
    lamp("catalog", "apply", str(catalog))
    thing = f"{name}-0001"
    lamp("device", "preregister", "--profile", name, thing)
    return {"name": name, "thing": thing, "ours": ours, "stranger": stranger, "folder": folder}


def test_a_claim_has_only_the_authority_of_its_principal(batch: dict[str, Any], outputs: dict[str, Any]) -> None:
    thing, ours, stranger = batch["thing"], batch["ours"], batch["stranger"]
    key = mqtt.new_key()
    csr = mqtt.signing_request(key, thing)

    foreign = stranger.claim(thing, csr)
    unknown = ours.claim(f"{thing}-unknown", csr)
    for answer in (foreign, unknown):
        assert (answer["verdict"], answer["code"], answer["reason"]) == ("rejected", "Denied", REFUSED)
    broken = ours.claim(thing, "junk")
    assert (broken["verdict"], broken["code"], broken["field"]) == ("rejected", "Invalid", "csr")
    assert lamp("device", "list", "--group", batch["name"]) in ([], [{"items": []}]), "nothing was created"

    accepted = ours.claim(thing, csr)
    assert accepted["verdict"] == "accepted", accepted
    assert accepted["custody"] == "device"
    described = client("iot", outputs["aws_endpoint"]).describe_thing(thingName=thing)
    assert described["thingTypeName"] == batch["name"]
    assert described["attributes"] == {"city": "milan"}
    assert described["billingGroupName"] == batch["name"]

    again = ours.claim(thing, csr)
    assert again["certificateId"] == accepted["certificateId"], "a repeated claim is the same claim"
    other = ours.claim(thing, mqtt.signing_request(mqtt.new_key(), thing))
    assert (other["verdict"], other["code"], other["field"]) == ("rejected", "Conflict", "csr")

    identity = mqtt.keep(batch["folder"], thing, key, accepted["certificatePem"])
    status = f"lamplighter/things/{thing}/status"
    with mqtt.Connection(ours.broker, identity, thing) as light:
        assert light.refusal is None, "the new certificate works"
        light.retain(status, b"lit")
    data = client("iot-data", outputs["aws_endpoint"])
    assert data.get_retained_message(topic=status)["topic"] == status

    lamp("device", "delete", thing, "--wait")
    with pytest.raises(data.exceptions.ResourceNotFoundException):
        data.get_retained_message(topic=status)
    with mqtt.Connection(ours.broker, identity, thing) as light:
        assert light.refusal, "a deleted light's certificate is refused"


@pytest.mark.parametrize(("message", "field"), [
    (b'{"thingName": 7, "csr": "c", "nonce": "n"}', "thingName"),
    (b'{"thingName": "a-light", "nonce": "n"}', "csr"),
    (b"{}", "thingName"),
    (b"[]", "thingName"),
    (b"no JSON", "thingName"),
])
def test_a_malformed_claim_is_answered(batch: dict[str, Any], message: bytes, field: str) -> None:
    ours: Claimant = batch["ours"]
    topic = f"lamplighter/claims/malformed-{uuid.uuid4().hex[:8]}"
    with mqtt.Connection(ours.broker, ours.identity, topic.rpartition("/")[2]) as connection:
        answer = connection.ask(f"{topic}/request", message, [f"{topic}/accepted", f"{topic}/rejected"])
    assert answer is not None, "no answer to the claim"
    problem = json.loads(answer[1])
    assert answer[0].endswith("/rejected")
    assert (problem["code"], problem["field"]) == ("Invalid", field)


def test_another_clients_topic_is_out_of_reach(batch: dict[str, Any]) -> None:
    ours: Claimant = batch["ours"]
    with mqtt.Connection(ours.broker, ours.identity, "mine") as connection:
        assert connection.ask("lamplighter/claims/theirs/request", b"{}", ["lamplighter/claims/theirs/accepted"]) is None
