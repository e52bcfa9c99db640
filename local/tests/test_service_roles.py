"""What AWS does in a role's name, the role must allow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.deploy import DeployFailed, Deployment, deploy
from local.settings import StateDir
from local.tests.conftest import Cloud
from local.tests.deployed import Stack

TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
BASE = {
    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
    "Queue": {"Type": "AWS::SQS::Queue"},
    "Function": {"Type": "AWS::Lambda::Function", "Properties": {
        "Runtime": "python3.12", "Handler": "index.handler", "Code": {"ZipFile": "def handler(e, c): pass"},
        "Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
}
TO_QUEUE = {"OnFailure": {"Destination": {"Fn::GetAtt": ["Queue", "Arn"]}}}


@pytest.mark.parametrize(("name", "actions", "resources"), [
    ("Destination", "sqs:SendMessage", {"Destination": {"Type": "AWS::Lambda::EventInvokeConfig", "Properties": {
        "FunctionName": {"Ref": "Function"}, "Qualifier": "$LATEST", "DestinationConfig": TO_QUEUE}}}),
    ("Mapping", "dynamodb:GetRecords, dynamodb:GetShardIterator, dynamodb:DescribeStream, dynamodb:ListStreams", {
        "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"}}},
        "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {
            "FunctionName": {"Ref": "Function"}, "EventSourceArn": {"Fn::GetAtt": ["Table", "StreamArn"]},
            "StartingPosition": "LATEST"}}}),
    ("Mapping", "sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes", {
        "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {
            "FunctionName": {"Ref": "Function"}, "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]}}}}),
])
def test_a_stack_whose_role_lacks_what_lambda_does_for_it_fails_and_says_so(
        cloud: Cloud, tmp_path: Path, unique: Callable[[str], str], name: str, actions: str,
        resources: dict[str, Any]) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(yaml.safe_dump({"Resources": {**BASE, **resources}}))
    with pytest.raises(DeployFailed) as failure:
        deploy(Deployment(cloud.endpoint, template, unique("unallowed"), {}), StateDir(tmp_path))
    assert str(failure.value).startswith(f"{name} (")
    assert f"role does not have permissions to call {actions} on" in str(failure.value)


def test_a_workflow_whose_role_may_not_invoke_the_function_fails(stack: Stack, unique: Callable[[str], str]) -> None:
    role = stack.cloud.client("iam").create_role(RoleName=unique("workflow"), AssumeRolePolicyDocument=json.dumps(TRUST))
    function = f"arn:aws:lambda:{stack.cloud.region}:{stack.cloud.account}:function:{stack['Probe']}"
    workflows = stack.cloud.client("stepfunctions")
    machine = workflows.create_state_machine(name=unique("workflow"), roleArn=role["Role"]["Arn"], definition=json.dumps(
        {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": function, "End": True}}}))
    run = workflows.start_execution(stateMachineArn=machine["stateMachineArn"], input="{}")["executionArn"]
    deadline = time.monotonic() + 10
    while (shown := workflows.describe_execution(executionArn=run))["status"] == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shown["status"] == "FAILED"
    assert shown["error"] == "Lambda.AWSLambdaException"
