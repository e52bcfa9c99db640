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

from local import demo_mqtt as mqtt

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


def test_lights_of_both_authorities_connect(broker: mqtt.Broker, tmp_path: Path) -> None:
    lamp("ca", "init", "--subject", "Test lights")
    standing = lamp("ca", "list")[0]["items"]
    lights = [light(tmp_path, "--issuer", "kms-ca"), light(tmp_path)]
    lamp("ca", "rotate", "--replaces", standing[-1]["authorityId"])
    after = lamp("ca", "list")[0]["items"]
    assert [each["status"] for each in after] == ["ACTIVE", "RETIRING"]
    lights.append(light(tmp_path, "--issuer", "kms-ca"))
    for name, identity in lights:
        assert connects(broker, name, identity) is None, name

    name, identity = lights[0]
    forged = mqtt.keep(tmp_path, f"{name}-forged", key := mqtt.new_key(), mqtt.self_signed(key, name))
    assert connects(broker, name, forged), "a certificate that nobody registered is refused"
    lamp("device", "delete", name, "--wait")
    assert connects(broker, name, identity), "a deleted light's certificate is refused"
