"""What Lambda does in a function's name, the function's role must allow.

AWS rules restored: "Configuring Lambda function permissions for DynamoDB" (a
mapping is refused unless the role can read the stream), "Configuring a queue to
use with Lambda" (nor unless it can take messages from the queue) and "Capturing
records of Lambda asynchronous invocations" (a dead-letter queue or failure
destination is refused unless the role can send to it). The emulator takes any
role for all of these.
"""

from __future__ import annotations

from typing import Any

from ministack.services import lambda_svc

from local.cfn_handlers import after_create_and_update
from local.roles import role_allows

STREAM_ACTIONS = ("dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams")
QUEUE_ACTIONS = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
SENDING = {"sqs": "sqs:SendMessage", "sns": "sns:Publish", "events": "events:PutEvents", "lambda": "lambda:InvokeFunction"}


def _role_of(reference: str) -> str:
    _, config, _ = lambda_svc._get_func_record_for_ref(reference)
    return config["Role"]


def _require(role: str, actions: tuple[str, ...], resource: str) -> None:
    refused = [action for action in actions if not role_allows(role, action, resource)]
    if refused:
        raise ValueError(f"The function execution role does not have permissions to call {', '.join(refused)}"
                         f" on {resource}")


def _require_sending(role: str, target: str) -> None:
    service = target.split(":")[2]
    _require(role, (SENDING[service],), target)


def _check_destination(role: str, props: dict[str, Any]) -> None:
    on_failure = (props.get("DestinationConfig") or {}).get("OnFailure") or {}
    if target := on_failure.get("Destination"):
        _require_sending(role, target)


def check_mapping(_id: str, props: dict[str, Any]) -> None:
    """AWS::Lambda::EventSourceMapping"""
    role = _role_of(props["FunctionName"])
    if ":dynamodb:" in props.get("EventSourceArn", ""):
        _require(role, STREAM_ACTIONS, props["EventSourceArn"])
    if ":sqs:" in props.get("EventSourceArn", ""):
        _require(role, QUEUE_ACTIONS, props["EventSourceArn"])
    _check_destination(role, props)


def check_invoke_config(_id: str, props: dict[str, Any]) -> None:
    """AWS::Lambda::EventInvokeConfig"""
    _check_destination(_role_of(props["FunctionName"]), props)


def check_function(name: str, props: dict[str, Any]) -> None:
    """AWS::Lambda::Function"""
    if target := (props.get("DeadLetterConfig") or {}).get("TargetArn"):
        _require_sending(_role_of(name), target)


def install() -> None:
    """Refuse what the role does not allow; the stack then rolls back."""
    after_create_and_update("AWS::Lambda::Function", check_function)
    after_create_and_update("AWS::Lambda::EventSourceMapping", check_mapping)
    after_create_and_update("AWS::Lambda::EventInvokeConfig", check_invoke_config)
