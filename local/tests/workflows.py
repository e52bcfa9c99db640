"""Workflows for tests: one state machine each, under a role that allows just what is said."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local.tests.conftest import Cloud, policy_document

TRUST = {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def allow(action: str | list[str], *resources: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": list(resources)}


@dataclass(frozen=True)
class Workflows:
    """Makes and runs them."""

    cloud: Cloud
    unique: Callable[[str], str]

    @property
    def states(self) -> Any:
        return self.cloud.client("stepfunctions")

    def machine(self, states: dict[str, Any], *statements: dict[str, Any], **definition: Any) -> str:
        """The ARN of a state machine that starts with the first state. Without statements its role allows everything."""
        iam, name = self.cloud.client("iam"), self.unique("workflow")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy_document([TRUST]))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy_document(list(statements) or [EVERYTHING]))
        return self.states.create_state_machine(name=name, roleArn=role, definition=json.dumps(
            {"StartAt": next(iter(states)), "States": states, **definition}))["stateMachineArn"]

    def start(self, machine: str, given: Any = None, **how: Any) -> str:
        return self.states.start_execution(
            stateMachineArn=machine, input=json.dumps(given if given is not None else {}), **how)["executionArn"]

    def ended(self, execution: str, seconds: float = 10.0) -> dict[str, Any]:
        """The execution once it no longer runs."""
        deadline = time.monotonic() + seconds
        while (shown := self.states.describe_execution(executionArn=execution))["status"] == "RUNNING":
            assert time.monotonic() < deadline, "the execution still runs"
            time.sleep(0.02)
        return shown

    def run(self, machine: str, given: Any = None) -> dict[str, Any]:
        return self.ended(self.start(machine, given))

    def output(self, machine: str, given: Any = None) -> Any:
        """What a run that must succeed gives."""
        shown = self.run(machine, given)
        assert shown["status"] == "SUCCEEDED", shown
        return json.loads(shown["output"])
