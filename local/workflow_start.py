"""Starting an execution twice.

AWS Step Functions API Reference, "StartExecution": for a STANDARD workflow the
call is idempotent: a name whose execution runs on the same input is answered
with that execution; with another input, or once it has ended, the name is an
ExecutionAlreadyExists for 90 days. A name has 1 to 80 characters, none of them
white space, a bracket, a wildcard or special; an input is JSON. Developer
Guide, "Start workflow executions from a task state": a nested start fails with
the SDK's name of the error, `StepFunctions.ExecutionAlreadyExistsException`.

The emulator refuses every repeated name, takes any name and any input, and
gives nested failures the API's names. That 90 days pass cannot be shown here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, get_region, json_response
from ministack.services import stepfunctions

Response = tuple[int, dict[str, str], bytes]

NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
NESTED = "StepFunctions."


def install() -> None:
    """Decide on a repeated name before the emulator does."""
    stepfunctions._start_execution = _start_execution
    stepfunctions._invoke_nested_start_execution = _named_as_sdk(stepfunctions._invoke_nested_start_execution)
    stepfunctions._invoke_nested_start_execution_sync = _named_as_sdk(stepfunctions._invoke_nested_start_execution_sync)


def _start_execution(request: dict[str, Any]) -> Response:
    refusal = _refusal(request)
    if refusal:
        return refusal
    running = _running_twin(request)
    if running is not None:
        return json_response({"executionArn": running["executionArn"], "startDate": running["startDate"]})
    status, headers, body = _emulator_start_execution(request)
    if status >= 400 and json.loads(body).get("__type") == "ExecutionAlreadyExists":
        return error_response_json("ExecutionAlreadyExists", f"Execution Already Exists: '{_arn_of(request)}'", 400)
    return status, headers, body


def _refusal(request: dict[str, Any]) -> Response | None:
    name = request.get("name")
    if name is not None and not NAME.fullmatch(name):
        return error_response_json("InvalidName", f"Invalid Name: '{name}'", 400)
    try:
        json.loads(request.get("input") or "{}")
    except ValueError:
        return error_response_json("InvalidExecutionInput", "Invalid State Machine Execution Input", 400)
    return None


def _running_twin(request: dict[str, Any]) -> dict[str, Any] | None:
    """The execution that this request would only start again."""
    arn = _arn_of(request)
    execution = stepfunctions._executions.get(arn) if arn else None
    if execution is None or execution["status"] != "RUNNING" or execution["input"] != request.get("input", "{}"):
        return None
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) or {}
    return execution if machine.get("type", "STANDARD") == "STANDARD" else None


def _arn_of(request: dict[str, Any]) -> str | None:
    arn = stepfunctions._resolve_state_machine_arn(request.get("stateMachineArn", "").partition("#")[0])
    name = request.get("name")
    if arn is None or name is None:
        return None
    machine = stepfunctions._state_machines[arn]["name"]
    return f"arn:aws:states:{get_region()}:{get_account_id()}:execution:{machine}:{name}"


def _named_as_sdk(start: Any) -> Any:
    def nested(resource: str, request: dict[str, Any]) -> Any:
        try:
            return start(resource, request)
        except stepfunctions._ExecutionError as failure:
            if failure.error.startswith(("States.", NESTED)):
                raise
            raise stepfunctions._ExecutionError(_sdk_name(failure.error), failure.cause) from failure

    return nested


def _sdk_name(code: str) -> str:
    return f"{NESTED}{code.removesuffix('Exception')}Exception"


_emulator_start_execution = stepfunctions._start_execution
