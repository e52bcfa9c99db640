"""The demo's two ways to look: through `lamp`, and past it, at AWS's own API."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local.demo_mqtt import Broker, Identity
from local.process import running
from local.settings import ROOT, ROOT_KEY, ROOT_SECRET, StateDir

EXAMPLE = ROOT / "examples" / "street-lights"


class Taken(Exception):
    """Another demo is at work in the state directory."""


@dataclass(frozen=True)
class Answer:
    """What a run of `lamp` came to."""

    exit: int
    documents: list[dict[str, Any]]
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        return self.documents[0] if self.documents else {}


class Lamp:
    """The operator's command line, run as an operator runs it."""

    def __init__(self, outputs_file: Path, keys: Path) -> None:
        self._keys = keys
        self.binary = ROOT / "target" / "local" / "lamp"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LAMP_"))},
            "LAMP_OUTPUTS": str(outputs_file),
            "LAMP_KEYS_DIR": str(keys),
        }

    def __call__(self, *arguments: object, bars: bool = False) -> Answer:
        """Run it for its JSON; with `bars` its progress goes to the terminal."""
        done = subprocess.run(
            [self.binary, "--output", "json", *map(str, arguments)],
            cwd=ROOT, env=self._environment, text=True, check=False,
            stdout=subprocess.PIPE, stderr=None if bars else subprocess.PIPE,
        )
        documents = [json.loads(line) for line in done.stdout.splitlines()]
        return Answer(done.returncode, documents, (done.stderr or "").strip())

    def start(self, output: Path, *arguments: object) -> subprocess.Popen[bytes]:
        """Start what runs until it is told to stop; its JSON goes to a file."""
        with output.open("wb") as file:
            return subprocess.Popen(
                [self.binary, "--output", "json", *map(str, arguments)],
                cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL,
            )

    def table(self, columns: int, *arguments: object) -> str:
        """What a person sees of it, on a terminal this wide."""
        done = subprocess.run(
            [self.binary, *map(str, arguments)], env={**self._environment, "COLUMNS": str(columns)},
            cwd=ROOT, text=True, check=False, stdout=subprocess.PIPE,
        )
        return done.stdout.rstrip()

    def identity(self, name: str) -> Identity:
        """Where `lamp` keeps a device's certificate and key."""
        return Identity(self._keys / f"{name}.cert.pem", self._keys / f"{name}.key.pem")


class Aws:
    """AWS's own API, as the account's root: no line of Lamplighter's code is between."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        session = boto3.Session(
            aws_access_key_id=ROOT_KEY, aws_secret_access_key=ROOT_SECRET, region_name=outputs["region"],
        )
        self.iot = session.client("iot", endpoint_url=outputs["aws_endpoint"])
        self.s3 = session.client("s3", endpoint_url=outputs["aws_endpoint"])
        self.data = session.client("iot-data", endpoint_url=outputs["aws_endpoint"])
        self._bucket = outputs["stack"]["CustodyBucket"]
        self._jobs = outputs["stack"]["JobBucket"]

    def things(self) -> set[str]:
        pages = self.iot.get_paginator("list_things").paginate()
        return {thing["thingName"] for page in pages for thing in page["things"]}

    def certificates(self) -> set[str]:
        pages = self.iot.get_paginator("list_certificates").paginate()
        return {found["certificateId"] for page in pages for found in page["certificates"]}

    def principals(self, thing: str) -> list[dict[str, str]]:
        """Each principal's certificate id and whether it is this thing's alone."""
        found = self.iot.list_thing_principals_v2(thingName=thing)["thingPrincipalObjects"]
        return [
            {"certificateId": each["principal"].rsplit("/", 1)[-1], "type": each["thingPrincipalType"]}
            for each in found
        ]

    def groups(self, thing: str) -> list[str]:
        found = self.iot.list_thing_groups_for_thing(thingName=thing)["thingGroups"]
        return sorted(group["groupName"] for group in found)

    def reported(self, thing: str) -> dict[str, Any]:
        """What the thing's shadow reports."""
        payload = self.data.get_thing_shadow(thingName=thing)["payload"]
        return json.load(payload)["state"].get("reported", {})

    def upload(self, key: str, body: bytes) -> str:
        """Put what jobs have lights download into the stack's own bucket, with a checksum that S3 keeps: its URI."""
        self.s3.put_object(Bucket=self._jobs, Key=key, Body=body, ChecksumAlgorithm="SHA256")
        return f"s3://{self._jobs}/{key}"

    def policies(self, target: str) -> list[str]:
        """The policies attached to a certificate or group itself."""
        found = self.iot.list_attached_policies(target=target)["policies"]
        return sorted(policy["policyName"] for policy in found)

    def in_force(self, certificate_arn: str, thing: str | None = None) -> list[str]:
        """The policies that decide when the certificate connects, as a thing or as anything else."""
        as_thing = {"thingName": thing} if thing else {}
        found = self.iot.get_effective_policies(principal=certificate_arn, **as_thing)["effectivePolicies"]
        return sorted(policy["policyName"] for policy in found)

    def custody(self) -> dict[str, list[str]]:
        """The key objects in custody, by device: every version of each."""
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix="keys/")
        found: dict[str, list[str]] = {}
        for page in pages:
            for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                found.setdefault(each["Key"].split("/")[1], []).append(each["Key"])
        return found

    def sealed(self, key: str) -> tuple[bytes, str]:
        """A key object as it lies there, and how S3 encrypts it besides."""
        found = self.s3.get_object(Bucket=self._bucket, Key=key)
        return found["Body"].read(), found.get("ServerSideEncryption", "none")

    def error(self, operation: str, **arguments: str) -> str:
        """The error that a call ends with."""
        try:
            getattr(self.iot, operation)(**arguments)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "no error"


def running_outputs(state: StateDir) -> dict[str, Any] | None:
    """The outputs of the local cloud, if it is up."""
    if running(state) is None or not state.outputs_file.exists():
        return None
    return json.loads(state.outputs_file.read_text())


@contextmanager
def alone(state: StateDir) -> Iterator[None]:
    """Hold the state directory, so that no two demos take each other's cloud down.

    A lock of the kernel's, which goes with the process however that ends.
    """
    state.path.mkdir(parents=True, exist_ok=True)
    with (state.path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Taken from error
        yield


def clear(state: StateDir) -> None:
    """Take down the cloud, if one runs there, and remove the keys of its devices."""
    if running(state) is not None:
        cloud(state, "down")
    shutil.rmtree(_scratch(state), ignore_errors=True)


def cloud(state: StateDir, command: str, parameters: dict[str, str] | None = None) -> int:
    """Bring the local cloud up or down, its words on the terminal."""
    given = [f"--parameter={name}={value}" for name, value in (parameters or {}).items()]
    arguments = [sys.executable, "-m", "local", "--state-dir", str(state.path), command, *given]
    return subprocess.run(arguments, cwd=ROOT, check=False).returncode


def broker(outputs: dict[str, Any]) -> Broker:
    return Broker(outputs["mqtt_host"], int(outputs["mqtt_port"]), Path(outputs["mqtt_ca"]))


def fleet() -> list[dict[str, str]]:
    """The rows of devices.csv."""
    with (EXAMPLE / "devices.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fresh_scratch(state: StateDir) -> Path:
    """An empty directory for the keys and certificates of one run of the demo."""
    scratch = _scratch(state)
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "other").mkdir(parents=True)
    scratch.chmod(0o700)
    return scratch


def _scratch(state: StateDir) -> Path:
    return state.path / "devices"
