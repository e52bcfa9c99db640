"""A workflow invokes a function only if its role allows it.

AWS rule restored: "IAM policies for calling Lambda with Step Functions": the
state machine's role needs `lambda:InvokeFunction` on the function; without it
the task fails. The emulator never asks.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from ministack.services import lambda_svc, stepfunctions

from local.roles import role_allows

_role: ContextVar[str | None] = ContextVar("workflow_role", default=None)


def _run_execution(execution_arn: str) -> Any:
    execution = stepfunctions._executions.get(execution_arn) or {}
    machine = stepfunctions._state_machines.get(execution.get("stateMachineArn", "")) or {}
    _role.set(machine.get("roleArn"))
    return _emulator_run_execution(execution_arn)


def _call_lambda(reference: str, event: Any) -> Any:
    role = _role.get()
    _, config, _ = lambda_svc._get_func_record_for_ref(reference)
    if role is not None and config is not None:
        function = config["FunctionArn"]
        if not role_allows(role, "lambda:InvokeFunction", function):
            raise stepfunctions._ExecutionError(
                "Lambda.AWSLambdaException",
                f"{role} is not authorized to perform: lambda:InvokeFunction on resource: {function}")
    return _emulator_call_lambda(reference, event)


def install() -> None:
    """Remember each execution's role, and ask it before each invocation."""
    stepfunctions._run_execution = _run_execution
    stepfunctions._call_lambda = _call_lambda


_emulator_run_execution = stepfunctions._run_execution
_emulator_call_lambda = stepfunctions._call_lambda
