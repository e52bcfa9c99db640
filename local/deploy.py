"""Package `template.yaml` and deploy it, as one would to AWS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local.clients import client
from local.settings import ARTIFACT_BUCKET, REGION, ROOT, ROOT_KEY, ROOT_SECRET, StateDir

DEPLOYED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
DEADLINE_SECONDS = 600.0
CHANGE_SET = re.compile(r"arn:aws:cloudformation:\S+:changeSet/\S+")


class DeployFailed(Exception):
    """The stack is not what the template asks for, and why."""


@dataclass(frozen=True)
class Deployment:
    """What is deployed where."""

    endpoint: str
    template: Path
    stack_name: str
    parameters: dict[str, str]


def deploy(deployment: Deployment, state: StateDir) -> dict[str, Any]:
    """Deploy, and describe the stack that stands then."""
    _make_bucket(deployment.endpoint)
    _aws(deployment.endpoint, "package", "--template-file", str(deployment.template),
         "--s3-bucket", ARTIFACT_BUCKET, "--output-template-file", str(state.packaged_template))
    state.parameters_file.write_text(
        json.dumps([f"{name}={value}" for name, value in deployment.parameters.items()]))
    _delete_wreck(deployment)
    said = _aws(
        deployment.endpoint, "deploy", "--template-file", str(state.packaged_template),
        "--stack-name", deployment.stack_name, "--no-fail-on-empty-changeset", "--no-execute-changeset",
        "--s3-bucket", ARTIFACT_BUCKET,
        "--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND",
        "--parameter-overrides", f"file://{state.parameters_file}")
    if change_set := CHANGE_SET.search(said):
        client("cloudformation", deployment.endpoint).execute_change_set(ChangeSetName=change_set[0])
    return _wait(deployment)


def _wait(deployment: Deployment) -> dict[str, Any]:
    """Wait for the stack. The command line would look every 30 seconds only."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        stack = describe(deployment)
        if stack is not None and stack["StackStatus"] in DEPLOYED:
            return stack
        if stack is None or not stack["StackStatus"].endswith("_IN_PROGRESS"):
            raise DeployFailed(_failed_resources(deployment) or f"the stack is {stack and stack['StackStatus']}")
        time.sleep(0.2)
    raise DeployFailed(f"the stack is still {stack['StackStatus']} after {DEADLINE_SECONDS:.0f} s")


def describe(deployment: Deployment) -> dict[str, Any] | None:
    """The stack, or None where there is none."""
    try:
        found = client("cloudformation", deployment.endpoint).describe_stacks(StackName=deployment.stack_name)
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return found["Stacks"][0]


def _delete_wreck(deployment: Deployment) -> None:
    """A stack whose first deployment failed can only be deleted; deploying again would be refused."""
    stack = describe(deployment)
    if stack is not None and stack["StackStatus"] in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"):
        cloudformation = client("cloudformation", deployment.endpoint)
        cloudformation.delete_stack(StackName=deployment.stack_name)
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=deployment.stack_name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def _failed_resources(deployment: Deployment) -> str:
    """Which resources failed, and with what reason, the first first."""
    if describe(deployment) is None:
        return ""
    events = client("cloudformation", deployment.endpoint).describe_stack_events(StackName=deployment.stack_name)
    return "\n".join(
        f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason given')}"
        for event in reversed(events["StackEvents"])
        if event["ResourceStatus"].endswith("_FAILED")
    )


def _make_bucket(endpoint: str) -> None:
    s3 = client("s3", endpoint)
    if ARTIFACT_BUCKET not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        s3.create_bucket(Bucket=ARTIFACT_BUCKET)


def _aws(endpoint: str, *arguments: str) -> str:
    """What the AWS command line says, with the emulator as its only world."""
    environment = {
        "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_PAGER": "",
        "LANG": "C.UTF-8",
        "PATH": os.environ.get("PATH", os.defpath),
    }
    done = subprocess.run([sys.executable, "-m", "awscli", "cloudformation", *arguments],
                          cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DeployFailed(f"aws cloudformation {arguments[0]}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
