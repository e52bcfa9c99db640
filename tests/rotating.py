"""Lights in the midst of a rotation, for tests that speak MQTT.

What the workflow would do is done call by call, so that a rotation stands still
where a test wants it.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from local import demo_mqtt as mqtt
from local.clients import client

ROOT = Path(__file__).parent.parent
OUTPUTS = Path(os.environ.get("LAMPLIGHTER_OUTPUTS", ROOT / ".local/outputs.json"))

# What AWS tells of a connection is no claim of whoever connects.
PRESENCE = {"inUse", "presenceAt", "version"}


def lamp(*words: object) -> list[dict[str, Any]]:
    """One call of the command line; what it says as JSON."""
    ran = subprocess.run(
        [ROOT / "target/local/lamp", "--outputs", OUTPUTS, "--output", "json", *map(str, words)],
        capture_output=True, text=True, check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


class Cloud:
    """The stack under test, seen as the account's root."""

    def __init__(self) -> None:
        assert OUTPUTS.exists(), f"no cloud to test: {OUTPUTS} is missing; run `make test-system`"
        self.outputs = json.loads(OUTPUTS.read_text())
        self.broker = mqtt.Broker(
            self.outputs["mqtt_host"], int(self.outputs["mqtt_port"]), Path(self.outputs["mqtt_ca"]))
        self.iot = self.client("iot")
        self._lambda, self._table = self.client("lambda"), self.client("dynamodb")

    def client(self, service: str) -> Any:
        return client(service, self.outputs["aws_endpoint"])

    def renewal(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """One event of renew-certificate, as the workflow or a rule brings it."""
        name = self.outputs["stack"]["RenewCertificateFunction"]
        answer = self._lambda.invoke(FunctionName=name, Payload=json.dumps(event))
        assert "FunctionError" not in answer, answer["Payload"].read()
        return json.loads(answer["Payload"].read())

    def rows(self, key: str) -> dict[str, dict[str, Any]]:
        """The registry's rows under a partition key, by their sort key."""
        found = self._table.query(
            TableName=self.outputs["stack"]["TableName"], ConsistentRead=True, KeyConditionExpression="PK = :pk",
            ExpressionAttributeValues={":pk": {"S": key}})["Items"]
        read = TypeDeserializer().deserialize
        rows = [{name: read(value) for name, value in item.items()} for item in found]
        return {row["SK"]: row for row in rows}

    def change(self, key: str, name: str, value: Any) -> None:
        """Change one field of a device's record or certificate, as time or an operator would."""
        kind = "S" if isinstance(value, str) else "N"
        pk, sk = key.split(" ")
        self._table.update_item(
            TableName=self.outputs["stack"]["TableName"], Key={"PK": {"S": pk}, "SK": {"S": sk}},
            UpdateExpression="SET #name = :value", ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": {kind: str(value)}})

    def arn(self, certificate_id: str) -> str:
        described = self.iot.describe_certificate(certificateId=certificate_id)
        return described["certificateDescription"]["certificateArn"]


class Light:
    """A device, and one rotation of its certificate."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self._cloud, self._folder = cloud, folder
        self.name = f"turning-{uuid.uuid4().hex[:8]}"
        self.rotation = f"op-{uuid.uuid4().hex}"
        [made] = lamp("device", "create", self.name, "--keys-dir", folder)
        self.old: str = made["certificateId"]
        self.identities = {"old": mqtt.Identity(Path(made["certificatePath"]), Path(made["keyPath"]))}
        self.new: str | None = None

    def topic(self, word: str) -> str:
        return f"lamplighter/things/{self.name}/certificate/{word}"

    def step(self) -> dict[str, Any] | None:
        """One call of the workflow."""
        return self._cloud.renewal({"rotationId": self.rotation, "thingName": self.name})

    def has_new_certificate(self) -> None:
        """Bring the rotation to where the new certificate waits for its proof."""
        self.step()
        key = mqtt.new_key()
        self._cloud.renewal({
            "rotationId": self.rotation, "csr": mqtt.signing_request(key, self.name), "clientId": self.name,
            "principal": self.old, "topicThing": self.name, "topicWord": "request",
        })
        self.step()
        rows = self._cloud.rows(f"DEVICE#{self.name}")
        assert rows["ROTATION"]["phase"] == "ISSUED", rows
        self.new = rows["ROTATION"]["new"]["mint"]["certificateId"]
        self.identities["new"] = mqtt.keep(
            self._folder, f"{self.name}-new", key, rows[f"CERT#{self.new}"]["certificatePem"])

    def connect(self, which: str = "old") -> mqtt.Connection:
        return mqtt.Connection(self._cloud.broker, self.identities[which], self.name)

    def everything(self) -> dict[str, Any]:
        """All that stands of it in the registry and in AWS IoT."""
        rows = self._cloud.rows(f"DEVICE#{self.name}")
        # Its groups follow what happens to it, in their own time.
        for name in ("DOCUMENT", "MEMBERSHIP"):
            rows.pop(name, None)
        rotation = {name: value for name, value in rows.pop("ROTATION", {}).items() if name not in PRESENCE}
        attached = self._cloud.iot.list_thing_principals_v2(thingName=self.name)["thingPrincipalObjects"]
        statuses = {
            each: self._cloud.iot.describe_certificate(certificateId=each)["certificateDescription"]["status"]
            for each in (self.old, self.new) if each
        }
        return {
            "rows": rows, "rotation": rotation, "operation": self._cloud.rows(f"OP#{self.rotation}"),
            "attached": sorted(json.dumps(each, sort_keys=True) for each in attached), "statuses": statuses,
        }
