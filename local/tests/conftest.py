"""One emulator with every patch applied, shared by the tests of a session.

Tests do not clean up after each other: each makes its own names with `unique`.
"""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local import process
from local.settings import ACCOUNT, MQTT_HOST, REGION, ROOT_KEY, ROOT_SECRET, StateDir
from local.tests.deployed import Stack, deploy_stack

_ONE_ATTEMPT = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=30)


@dataclass(frozen=True)
class Cloud:
    """A running emulator, as a client sees it."""

    endpoint: str
    mqtt_host: str
    mqtt_port: int
    mqtt_ca: Path
    region: str = REGION
    account: str = ACCOUNT

    def client(self, service: str, credentials: dict[str, str] | None = None) -> Any:
        """A client of the account's root, or of the session these credentials are for."""
        keys = credentials or {"aws_access_key_id": ROOT_KEY, "aws_secret_access_key": ROOT_SECRET}
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=self.region, config=_ONE_ATTEMPT, **keys,
        )

    def as_role(self, name: str, statements: list[dict[str, Any]]) -> Callable[[str], Any]:
        """Clients of a new role that has just these permissions."""
        account = {"AWS": f"arn:aws:iam::{self.account}:root"}
        trust = {"Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole"}
        iam = self.client("iam")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy_document([trust]))["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy_document(statements))
        session = self.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName=name)["Credentials"]
        credentials = {
            "aws_access_key_id": session["AccessKeyId"],
            "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }
        return lambda service: self.client(service, credentials)


def policy_document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    state = StateDir(tmp_path_factory.mktemp("cloud"))
    emulator = process.start(state)
    try:
        with urllib.request.urlopen(f"{emulator.endpoint}/_ministack/iot/ca.pem", timeout=10) as answer:
            state.mqtt_ca_file.write_bytes(answer.read())
        yield Cloud(emulator.endpoint, MQTT_HOST, emulator.mqtt_port, state.mqtt_ca_file)
    finally:
        process.stop(state)


@pytest.fixture(scope="session")
def stack(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    return deploy_stack(cloud, StateDir(tmp_path_factory.mktemp("deploy")), tmp_path_factory.mktemp("stack") / "copy")


@pytest.fixture(scope="session")
def second_stack(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """One that tests may break."""
    return deploy_stack(cloud, StateDir(tmp_path_factory.mktemp("second")), tmp_path_factory.mktemp("stack") / "copy",
                        "second")


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Names that no other test of the session uses."""
    return lambda prefix: f"{prefix}-{next(_NUMBERS)}"


_NUMBERS = itertools.count(1)
