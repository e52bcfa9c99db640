"""Invariant 5: what others say of a light's certificate, or a light with the wrong
certificate, changes nothing. Each attempt is a line; the light is in the midst
of a rotation, so that a request or a proof would be taken from itself.

Run by `make test-system`; LAMPLIGHTER_OUTPUTS names the stack.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from rotating import Cloud, Light, lamp

from local import demo_mqtt as mqtt

# Longer than an event takes to the function and back.
UNHEARD_SECONDS = 1.5

CLAIM_POLICY = [
    {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
    {"Effect": "Allow", "Action": "iot:Publish",
     "Resource": "arn:aws:iot:*:*:topic/lamplighter/claims/${iot:ClientId}/request"},
]
# An operator's mistake: then only the function's own check is left.
BROAD_POLICY = [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]

# What stands in a payload where the victim's is meant.
VICTIMS: dict[str, str] = {
    "rotationId": "{rotation}", "clientId": "{victim}", "thingName": "{victim}", "topicThing": "{victim}",
}
PROOF = VICTIMS | {"principal": "{new}", "certificateId": "{new}", "topicWord": "proof"}
REQUEST = VICTIMS | {"principal": "{old}", "certificateId": "{old}", "topicWord": "request", "csr": "{csr}"}
NO_ROTATION = {"rotationId": "op-00000000000000000000000000000000"}


@dataclass(frozen=True)
class Attempt:
    """Somebody connects, subscribes to answers, and publishes; somewhere that is refused."""

    who: str
    client: str
    topic: str
    payload: dict[str, str] = field(default_factory=dict)
    # connect, subscribe, publish; rejected, by the field that is at fault; or nobody answers.
    refused: str = "connect"
    # The operator has put the certificate out of force or taken it from the light.
    made: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, [self.made, self.who, "as", self.client, self.topic]))


OWN, THEIRS = "lamplighter/things/{client}/certificate", "lamplighter/things/{victim}/certificate"

ATTEMPTS = [
    # Another light, by its good certificate.
    Attempt("other", "{victim}", f"{THEIRS}/proof", PROOF, "connect"),
    Attempt("other", "{other}", f"{THEIRS}/proof", PROOF, "publish"),
    Attempt("other", "{other}", f"{THEIRS}/request", REQUEST, "publish"),
    Attempt("other", "{other}", f"{OWN}/proof", PROOF, "rejected rotationId"),
    Attempt("other", "{other}", f"{OWN}/request", REQUEST, "rejected rotationId"),
    Attempt("other", "{other}", f"{THEIRS}/renew", refused="subscribe"),
    Attempt("other", "{other}", f"{THEIRS}/accepted", refused="subscribe"),
    Attempt("other", "{other}", f"{THEIRS}/rejected", refused="subscribe"),
    Attempt("other", "{other}", f"{THEIRS}/retired", refused="subscribe"),
    Attempt("other", "{other}", "lamplighter/things/+/certificate/accepted", refused="subscribe"),
    Attempt("other", "{other}", "lamplighter/#", refused="subscribe"),
    Attempt("other", "{other}", f"{THEIRS}/accepted", {"rotationId": "{rotation}"}, "publish"),
    # The word to renew may come by a job.
    Attempt("other", "{other}", "$aws/things/{victim}/jobs/notify-next", refused="subscribe"),
    Attempt("other", "{other}", "$aws/things/+/jobs/+/get/+", refused="subscribe"),
    Attempt("other", "{other}", "$aws/things/{victim}/jobs/$next/get", {"clientToken": "t"}, "publish"),
    Attempt("other", "{other}", "$aws/things/{victim}/jobs/lamplighter-renew-{rotation}/update",
            {"status": "SUCCEEDED"}, "publish"),
    # A batch's claim certificate, which may connect as anybody.
    Attempt("claim", "{victim}", f"{THEIRS}/proof", PROOF, "publish"),
    Attempt("claim", "{victim}", f"{THEIRS}/request", REQUEST, "publish"),
    Attempt("claim", "{victim}", f"{THEIRS}/accepted", refused="subscribe"),
    # A certificate that may do everything, and is not the light's.
    Attempt("broad", "{victim}", f"{THEIRS}/proof", PROOF, "unheard"),
    Attempt("broad", "{victim}", f"{THEIRS}/request", REQUEST, "unheard"),
    Attempt("broad", "{other}", f"{THEIRS}/proof", PROOF, "unheard"),
    Attempt("broad", "{other}", f"{THEIRS}/request", REQUEST, "unheard"),
    Attempt("broad", "{other}", "$aws/events/subscriptions/subscribed/{victim}", PROOF, "publish"),
    # Nobody's certificate.
    Attempt("forged", "{victim}", f"{THEIRS}/proof", PROOF, "connect"),
    # The light itself, with the wrong one of its certificates, or of another rotation.
    Attempt("old", "{victim}", f"{THEIRS}/proof", PROOF, "rejected principal"),
    Attempt("new", "{victim}", f"{THEIRS}/request", REQUEST, "rejected principal"),
    Attempt("new", "{victim}", f"{THEIRS}/proof", PROOF | NO_ROTATION, "rejected principal"),
    Attempt("old", "{victim}", f"{THEIRS}/request", REQUEST | NO_ROTATION, "rejected rotationId"),
    Attempt("new", "{other}", f"{THEIRS}/proof", PROOF, "connect"),
    # The right one, out of force.
    Attempt("new", "{victim}", f"{THEIRS}/proof", PROOF, made="INACTIVE"),
    Attempt("new", "{victim}", f"{THEIRS}/proof", PROOF, made="REVOKED"),
    Attempt("new", "{victim}", f"{THEIRS}/proof", PROOF, made="DETACHED"),
    Attempt("old", "{victim}", f"{THEIRS}/request", REQUEST, made="INACTIVE"),
    Attempt("old", "{victim}", f"{THEIRS}/request", REQUEST, made="REVOKED"),
    Attempt("old", "{victim}", f"{THEIRS}/request", REQUEST, made="DETACHED"),
]


@dataclass(frozen=True)
class Scene:
    """A light in the midst of a rotation, another light, and strangers."""

    cloud: Cloud
    folder: Path
    victim: Light
    others: dict[str, mqtt.Identity]
    words: dict[str, str]

    def identity(self, who: str) -> mqtt.Identity:
        return self.others.get(who) or self.victim.identities[who]

    def with_another_victim(self) -> Scene:
        """For what cannot be made undone: a revoked certificate stays so."""
        victim = turning(self.cloud, self.folder)
        return replace(self, victim=victim, words=self.words | words_of(victim))


def turning(cloud: Cloud, folder: Path) -> Light:
    light = Light(cloud, folder)
    light.has_new_certificate()
    return light


def words_of(victim: Light) -> dict[str, str]:
    return {
        "victim": victim.name, "rotation": victim.rotation, "old": victim.old, "new": victim.new or "",
        "csr": mqtt.signing_request(mqtt.new_key(), victim.name),
    }


def stranger(cloud: Cloud, folder: Path, name: str, statements: list[dict[str, Any]]) -> mqtt.Identity:
    """A certificate with a policy of its own, and no thing."""
    policy = f"{name}-{uuid.uuid4().hex[:8]}"
    cloud.iot.create_policy(
        policyName=policy, policyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    key = mqtt.new_key()
    made = cloud.iot.create_certificate_from_csr(
        certificateSigningRequest=mqtt.signing_request(key, name), setAsActive=True)
    cloud.iot.attach_policy(policyName=policy, target=made["certificateArn"])
    return mqtt.keep(folder, name, key, made["certificatePem"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    cloud, folder = Cloud(), tmp_path_factory.mktemp("turning")
    victim, other = turning(cloud, folder), Light(cloud, folder)
    forged = mqtt.keep(folder, "forged", key := mqtt.new_key(), mqtt.self_signed(key, victim.name))
    others = {
        "other": other.identities["old"], "forged": forged,
        "claim": stranger(cloud, folder, "claim", CLAIM_POLICY),
        "broad": stranger(cloud, folder, "broad", BROAD_POLICY),
    }
    return Scene(cloud, folder, victim, others, {"other": other.name} | words_of(victim))


def put(scene: Scene, which: str, made: str) -> None:
    """Do with one of the victim's certificates what an operator does."""
    arn = scene.cloud.arn(scene.words[which])
    if made == "DETACHED":
        scene.cloud.iot.detach_thing_principal(thingName=scene.victim.name, principal=arn)
    else:
        scene.cloud.iot.update_certificate(certificateId=scene.words[which], newStatus=made)


def attempt(scene: Scene, line: Attempt) -> str:
    """Where it is refused."""
    client = line.client.format(**scene.words)
    words = scene.words | {"client": client}
    topic = line.topic.format(**words)
    payload = json.dumps({name: value.format(**words) for name, value in line.payload.items()}).encode()
    with mqtt.Connection(scene.cloud.broker, scene.identity(line.who), client) as connection:
        if connection.refusal is not None:
            return "connect"
        if not line.payload:
            return "not at all" if connection.subscribe(topic) else "subscribe"
        answers = f"{OWN}/rejected".format(**words)
        listens = connection.subscribe(answers)
        if not connection.publish(topic, payload):
            return "publish"
        answer = connection.hear(mqtt.PATIENCE_SECONDS if line.refused.startswith("rejected") else UNHEARD_SECONDS)
        if answer is None:
            return "unheard" if listens else "nobody knows"
        return f"rejected {json.loads(answer[1]).get('field')}"


@pytest.mark.parametrize("line", ATTEMPTS, ids=str)
def test_a_light_is_as_it_was_after_an_attempt_over_mqtt(scene: Scene, line: Attempt) -> None:
    if line.made:
        scene = scene.with_another_victim()
        put(scene, line.who, line.made)
    before = scene.victim.everything()
    assert attempt(scene, line) == line.refused
    assert scene.victim.everything() == before


def test_the_attempts_would_be_taken_from_the_light_itself(scene: Scene) -> None:
    """Last: it ends the rotation that the others needed open."""
    for who, topic, payload in (("old", f"{THEIRS}/request", REQUEST), ("new", f"{THEIRS}/proof", PROOF)):
        before = scene.victim.everything()
        assert attempt(scene, Attempt(who, "{victim}", topic, payload, "unheard")) == "unheard"
        after = scene.victim.everything()
        changed = {name for name in after["rotation"] if after["rotation"][name] != before["rotation"].get(name)}
        assert changed == ({"wish", "superseded"} if who == "old" else {"provenAt"}), (who, changed)


@dataclass(frozen=True)
class Call:
    """A request of the API that begins no rotation."""

    who: str
    path: str
    status: int
    code: str | None = None
    body: dict[str, str] | None = None

    def __str__(self) -> str:
        return " ".join([self.who, self.path, *(self.body or {}).values()])


RENEWAL = "/devices/{name}/certificate/renewal"
TOKEN = "/devices/{name}/enrolment-tokens"
WHY = {"reason": "it is mine"}


def enrolment(name: str, token: str, **more: str) -> dict[str, str]:
    return {"thingName": name, "token": token, "csr": "{csr}", **more}


CALLS = [
    Call("nobody", RENEWAL, 403),
    Call("stranger", RENEWAL, 403),
    Call("key reader", RENEWAL, 403),
    Call("key reader of another", RENEWAL, 403),
    Call("key reader of another", "/devices/{name}/credentials", 403),
    Call("caller", "/devices/{name}/credentials", 403),
    Call("caller", "/devices/{name}-gone/certificate/renewal", 404, "NotFound"),
    Call("caller", "/devices/%20/certificate/renewal", 400, "Invalid"),
    Call("caller", "/devices/{going}/certificate/renewal", 409, "Conflict"),
    # A token is whoever has it, so it is for those who may have keys.
    Call("nobody", TOKEN, 403, body=WHY),
    Call("stranger", TOKEN, 403, body=WHY),
    Call("caller", TOKEN, 403, body=WHY),
    Call("key reader of another", TOKEN, 403, body=WHY),
    Call("key reader", "/devices/{name}-gone/enrolment-tokens", 404, "NotFound", WHY),
    Call("key reader", "/devices/{going}/enrolment-tokens", 409, "Conflict", WHY),
    # Nobody has to sign an enrolment; without the device's own token it is nothing.
    Call("nobody", "/enrolments", 403, "Denied", enrolment("{name}", "{another's token}")),
    Call("nobody", "/enrolments", 403, "Denied", enrolment("{another}", "{name's token}")),
    Call("nobody", "/enrolments", 403, "Denied", enrolment("{name}", "{digest of name's token}")),
    Call("nobody", "/enrolments", 403, "Denied", enrolment("{name}-gone", "{name's token}")),
    Call("nobody", "/enrolments", 403, "Denied", enrolment("{going}", "{name's token}")),
    Call("caller", "/enrolments", 403, "Denied", enrolment("{name}", "{another's token}")),
    Call("nobody", "/enrolments", 400, "Invalid", enrolment("{name}", "{name's token}", certificateId="{old}")),
    Call("nobody", "/enrolments", 400, "Invalid", enrolment("{name}", "{name's token}", principal="{old}")),
]


@pytest.fixture(scope="module")
def lights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Light]:
    """One that stays, one that is being deleted, one that is none of the others' business."""
    cloud, folder = Cloud(), tmp_path_factory.mktemp("calls")
    found = {each: Light(cloud, folder) for each in ("name", "going", "another")}
    cloud.change(f"DEVICE#{found['going'].name} RECORD", "status", "DELETING")
    return found


@pytest.fixture(scope="module")
def callers(lights: dict[str, Light]) -> dict[str, Credentials | None]:
    cloud = Cloud()
    api = cloud.outputs["api_url"].rpartition("/")[2]
    own = f"arn:aws:execute-api:*:*:{api}/$default/POST/devices/{lights['another'].name}/credentials"
    stack = cloud.outputs["stack"]
    return {
        "nobody": None, "stranger": role(cloud), "key reader": role(cloud, stack["KeyReaderPolicyArn"]),
        "caller": role(cloud, stack["CallerPolicyArn"]),
        "key reader of another": role(cloud, inline=[
            {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": own}]),
    }


def role(cloud: Cloud, *policies: str, inline: list[dict[str, Any]] | None = None) -> Credentials:
    """A session of a new role with these policies."""
    iam, name = cloud.client("iam"), f"test-{uuid.uuid4().hex[:12]}"
    account = cloud.outputs["account"]
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
    iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}))
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    if inline:
        iam.put_role_policy(
            RoleName=name, PolicyName="own", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": inline}))
    assumed = cloud.client("sts").assume_role(RoleArn=f"arn:aws:iam::{account}:role/{name}", RoleSessionName="test")
    session = assumed["Credentials"]
    return Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"])


@pytest.fixture(scope="module")
def said(lights: dict[str, Light]) -> dict[str, str]:
    """What calls speak of."""
    tokens = {each: lamp("device", "enrolment-token", lights[each].name, "--reason", "a test")[0]["token"]
              for each in ("name", "another")}
    return {name: light.name for name, light in lights.items()} | {
        "name's token": tokens["name"], "another's token": tokens["another"], "old": lights["name"].old,
        "digest of name's token": hashlib.sha256(tokens["name"].encode()).hexdigest(),
        "csr": mqtt.signing_request(mqtt.new_key(), lights["name"].name),
    }


def ask(
    cloud: Cloud, who: Credentials | None, path: str, body: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    data = json.dumps(body).encode() if body else None
    request = AWSRequest("POST", f"{cloud.outputs['api_url']}{path}", data=data)
    if who is not None:
        SigV4Auth(who, "execute-api", cloud.outputs["region"]).add_auth(request)
    prepared = request.prepare()
    sent = urllib.request.Request(prepared.url, data=data, method="POST", headers=dict(prepared.headers))
    try:
        with urllib.request.urlopen(sent, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read() or b"{}")


@pytest.mark.parametrize("line", CALLS, ids=str)
def test_a_light_is_as_it_was_after_a_refused_call(
    lights: dict[str, Light], callers: dict[str, Credentials | None], said: dict[str, str], line: Call,
) -> None:
    before = {name: light.everything() for name, light in lights.items()}
    body = {name: value.format(**said) for name, value in (line.body or {}).items()}
    status, problem = ask(Cloud(), callers[line.who], line.path.format(**said), body)
    assert (status, problem.get("code")) == (line.status, line.code), problem
    time.sleep(0.2)
    assert {name: light.everything() for name, light in lights.items()} == before


def test_a_caller_may(
    lights: dict[str, Light], callers: dict[str, Credentials | None], said: dict[str, str],
) -> None:
    """Last: the same requests, by whom they are allowed to."""
    enrolling = {name: value.format(**said) for name, value in enrolment("{another}", "{another's token}").items()}
    status, answer = ask(Cloud(), None, "/enrolments", enrolling)
    assert (status, answer["thingName"]) == (201, lights["another"].name), answer
    status, _ = ask(Cloud(), callers["key reader"], TOKEN.format(name=lights["name"].name), WHY)
    assert status == 201
    status, answer = ask(Cloud(), callers["caller"], RENEWAL.format(name=lights["name"].name))
    assert (status, answer["status"]) == (202, "RUNNING"), answer
    lamp("device", "delete", lights["name"].name, "--wait")
