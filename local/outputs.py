"""What a client needs to use the deployed stack, and a role to use it with."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from local.clients import client
from local.process import Emulator
from local.settings import ACCOUNT, CALLER_ROLE, MQTT_HOST, REGION, StateDir

# What the role of callers may do; the template names the policies among its outputs.
CALLER_POLICIES = ("CallerPolicyArn", "KeyReaderPolicyArn", "TunnelPolicyArn")
SESSION_SECONDS = 12 * 3600


def write(state: StateDir, emulator: Emulator, stack: dict[str, Any]) -> dict[str, Any]:
    """Write `outputs.json`, with fresh credentials of the caller's role."""
    of_stack = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    credentials = _caller_credentials(emulator.endpoint, of_stack)
    outputs = {
        "aws_endpoint": emulator.endpoint,
        "api_url": _api_url(emulator.endpoint, stack["StackName"]),
        "region": REGION,
        "account": ACCOUNT,
        "access_key_id": credentials["AccessKeyId"],
        "secret_access_key": credentials["SecretAccessKey"],
        "session_token": credentials["SessionToken"],
        "mqtt_host": MQTT_HOST,
        "mqtt_port": emulator.mqtt_port,
        "mqtt_ca": str(state.mqtt_ca_file.resolve()),
        "tunnel_endpoint": emulator.endpoint.replace("http", "ws", 1),
        "stack": of_stack,
    }
    state.outputs_file.write_text(json.dumps(outputs, indent=2) + "\n")
    # The credentials in it are worth something as long as the cloud runs.
    state.outputs_file.chmod(0o600)
    return outputs


def _api_url(endpoint: str, stack_name: str) -> str | None:
    """Where the emulator serves the stack's API; it has no names of hosts to give."""
    resources = client("cloudformation", endpoint).describe_stack_resources(StackName=stack_name)["StackResources"]
    for resource in resources:
        if resource["ResourceType"] == "AWS::ApiGatewayV2::Api":
            return f"{endpoint}/_aws/execute-api/{resource['PhysicalResourceId']}"
    return None


def _caller_credentials(endpoint: str, of_stack: dict[str, str]) -> dict[str, str]:
    iam = client("iam", endpoint)
    try:
        iam.create_role(RoleName=CALLER_ROLE, MaxSessionDuration=SESSION_SECONDS, AssumeRolePolicyDocument=json.dumps({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                           "Action": "sts:AssumeRole"}],
        }))
    except ClientError as error:
        if error.response["Error"]["Code"] != "EntityAlreadyExists":
            raise
    for name in CALLER_POLICIES:
        if arn := of_stack.get(name):
            iam.attach_role_policy(RoleName=CALLER_ROLE, PolicyArn=arn)
    assumed = client("sts", endpoint).assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{CALLER_ROLE}", RoleSessionName="local",
        DurationSeconds=SESSION_SECONDS)
    return assumed["Credentials"]
