"""A workflow does only what its role allows.

AWS rules restored: "How Step Functions generates IAM policies for integrated
services": each task calls its service as the state machine's role, in the
branches of Map and Parallel as well; without the permission the task fails with
the service's own error. "IAM policies for nested workflows": a nested start
needs `states:StartExecution` on the state machine started. The emulator never
asks.

What an `aws-sdk` task asks for is taken from its parameters where the emulator
knows how; otherwise the role must allow the action on every resource.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.services import lambda_svc, stepfunctions

from local.roles import role_allows

INTEGRATION = "arn:aws:states:::"
SDK = "aws-sdk:"

# The prefix in policies, where it is not the integration's own name.
PREFIXES = {"sfn": "states", "cloudwatchlogs": "logs", "eventbridge": "events"}
# Actions that are not called as their operations are.
ACTIONS = {
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjects": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:HeadBucket": "s3:ListBucket",
    "lambda:Invoke": "lambda:InvokeFunction",
}
# How a refused call fails, by optimized integration; the names are those of the first Java SDK.
REFUSALS = {
    "states": "StepFunctions.AWSStepFunctionsException",
    "sqs": "SQS.AmazonSQSException",
    "sns": "SNS.AmazonSNSException",
    "events": "EventBridge.AmazonEventBridgeException",
    "dynamodb": "DynamoDB.AmazonDynamoDBException",
}

_role: ContextVar[str | None] = ContextVar("workflow_role", default=None)


@dataclass(frozen=True)
class Need:
    """What a task asks of its role, and how it fails without."""

    action: str
    resource: str
    error: str


def current_role() -> str:
    """The role of the workflow that runs in this thread."""
    role = _role.get()
    if role is None:
        raise RuntimeError("no workflow runs here")
    return role


def require(need: Need) -> None:
    """Fail the task unless the workflow's role allows it. Outside of a workflow nothing is asked."""
    role = _role.get()
    if role is not None and not role_allows(role, need.action, need.resource):
        raise stepfunctions._ExecutionError(
            need.error, f"{role} is not authorized to perform: {need.action} on resource: {need.resource}")


def needs(resource: str, request: dict[str, Any]) -> list[Need]:
    """What a task of this resource needs, Lambda apart."""
    if not resource.startswith(INTEGRATION) or not isinstance(request, dict):
        return []
    name = resource.removeprefix(INTEGRATION)
    if name.startswith(SDK):
        return _sdk_needs(name.removeprefix(SDK), request)
    service, _, operation = name.partition(":")
    operation = operation.partition(".")[0]
    if service not in REFUSALS:
        return []
    action = f"{service}:{operation[:1].upper()}{operation[1:]}"
    return [Need(action, arn, REFUSALS[service]) for arn in _resources(service, request)]


def _resources(service: str, request: dict[str, Any]) -> list[str]:
    scope = f"{get_region()}:{get_account_id()}"
    match service:
        case "states":
            return [request.get("StateMachineArn", "")]
        case "sqs":
            return [f"arn:aws:sqs:{scope}:{request.get('QueueUrl', '').rsplit('/', 1)[-1]}"]
        case "sns":
            return [request.get("TopicArn") or request.get("TargetArn") or ""]
        case "events":
            buses = {entry.get("EventBusName") or "default" for entry in request.get("Entries", [])}
            return [bus if bus.startswith("arn:") else f"arn:aws:events:{scope}:event-bus/{bus}" for bus in buses]
        case _:
            table = request.get("TableName", "")
            return [table if table.startswith("arn:") else f"arn:aws:dynamodb:{scope}:table/{table}"]


def _sdk_needs(name: str, request: dict[str, Any]) -> list[Need]:
    service, _, operation = name.partition(":")
    service, operation = service.lower(), operation.partition(".")[0]
    prefix = PREFIXES.get(service, service)
    called = f"{prefix}:{operation[:1].upper()}{operation[1:]}"
    error = stepfunctions._AWS_SDK_ERROR_PREFIX.get(service, service.capitalize())
    return [Need(ACTIONS.get(called, called), _sdk_resource(service, prefix, request), f"{error}.{error}Exception")]


def _sdk_resource(service: str, prefix: str, request: dict[str, Any]) -> str:
    if service == "s3":
        return "arn:aws:s3:::" + "/".join(request[member] for member in ("Bucket", "Key") if member in request)
    if service == "lambda":
        _, config, _ = lambda_svc._get_func_record_for_ref(request.get("FunctionName", ""))
        return config["FunctionArn"] if config else "*"
    known = stepfunctions._AWS_SDK_SERVICE_MAP.get(service, {})
    if known.get("protocol") != "json":
        return "*"
    lower = known.get("param_case") == "lower-camel"
    body = {name[:1].lower() + name[1:] if lower else name: value for name, value in request.items()}
    return iam_actions.extract_resource_arn(
        prefix, "POST", "/", {}, json.dumps(body).encode(), {}, get_region(), get_account_id())


def _run_execution(execution_arn: str) -> Any:
    execution = stepfunctions._executions.get(execution_arn) or {}
    machine = stepfunctions._state_machines.get(execution.get("stateMachineArn", "")) or {}
    # A nested execution that is waited for runs in its parent's thread, which goes on in its own role.
    token = _role.set(machine.get("roleArn"))
    try:
        return _emulator_run_execution(execution_arn)
    finally:
        _role.reset(token)


def _invoke_resource(resource: str, request: Any) -> Any:
    for need in needs(resource, request):
        require(need)
    return _emulator_invoke_resource(resource, request)


def _call_lambda(reference: str, event: Any) -> Any:
    _, config, _ = lambda_svc._get_func_record_for_ref(reference)
    if config is not None:
        require(Need("lambda:InvokeFunction", config["FunctionArn"], "Lambda.AWSLambdaException"))
    return _emulator_call_lambda(reference, event)


def install() -> None:
    """Remember each execution's role, and ask it before each call."""
    stepfunctions._run_execution = _run_execution
    stepfunctions._invoke_resource = _invoke_resource
    stepfunctions._call_lambda = _call_lambda


_emulator_run_execution = stepfunctions._run_execution
_emulator_invoke_resource = stepfunctions._invoke_resource
_emulator_call_lambda = stepfunctions._call_lambda
