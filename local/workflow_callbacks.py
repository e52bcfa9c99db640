"""A task that waits for its token.

AWS Step Functions Developer Guide, "Wait for a Callback with Task Token": the
task begins with its call, which fails it if it fails itself; each attempt has a
token of its own; the task ends with SendTaskSuccess, SendTaskFailure, or
`States.Timeout` once `TimeoutSeconds` (or `TimeoutSecondsPath`) have passed
since it began, `States.HeartbeatTimeout` for heartbeats. API Reference,
"SendTaskSuccess": what is no token is an InvalidToken, a token whose task is
over in whatever way TaskTimedOut, an output that is not JSON InvalidOutput.
Whoever answers needs the permission on the state machine (`grantTaskResponse`
of the CDK gives just that).

The emulator gives all attempts one token, takes an answer twice, swallows
failed calls, starts the clock when the call is over, and has neither paths nor
heartbeats. It checks the permission on `*`.
"""

from __future__ import annotations

import contextvars
import json
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import error_response_json, json_response
from ministack.services import stepfunctions

from local import workflow_tokens
from local.workflow_end import Ended, is_open

WAITING = ".waitForTaskToken"
MAX_OUTPUT_BYTES = 262_144
FOR_EVER = 99_999_999.0

# How soon a task notices that its execution was stopped.
_LOOK_EVERY_SECONDS = 0.2

Response = tuple[int, dict[str, str], bytes]


@dataclass
class Waiting:
    """A task that waits, and what it has heard."""

    execution: dict[str, Any]
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    result: Any = None
    failure: stepfunctions._ExecutionError | None = None
    heard: float = field(default_factory=time.monotonic)

    def end(self, result: Any = None, failure: stepfunctions._ExecutionError | None = None) -> bool:
        """Take the first answer. False when there was one."""
        with self.lock:
            if self.ended.is_set() or not is_open(self.execution):
                return False
            self.result, self.failure = result, failure
            self.ended.set()
            return True


_execution: ContextVar[dict[str, Any]] = ContextVar("workflow_execution")


def install() -> None:
    """Put the pattern in place of the emulator's."""
    stepfunctions._execute_task = _execute_task
    stepfunctions._apply_parameters = _fresh_token(stepfunctions._apply_parameters)
    stepfunctions._apply_jsonata_arguments = _fresh_token(stepfunctions._apply_jsonata_arguments)
    stepfunctions._invoke_with_callback = _invoke_with_callback
    stepfunctions._send_task_success = _send_task_success
    stepfunctions._send_task_failure = _send_task_failure
    stepfunctions._send_task_heartbeat = _send_task_heartbeat
    iam_actions.extract_resource_arn = _extract_resource_arn


def _execute_task(state: dict[str, Any], raw_input: Any, execution: dict[str, Any], ctx: dict[str, Any]) -> Any:
    effective = stepfunctions._apply_input_path(state, raw_input, ctx)
    for name in ("TimeoutSeconds", "HeartbeatSeconds"):
        if path := state.get(f"{name}Path"):
            state = {**state, name: _seconds(path, effective, ctx)}
    token = _execution.set(execution)
    try:
        return _emulator_execute_task(state, raw_input, execution, ctx)
    finally:
        _execution.reset(token)


def _seconds(path: str, effective: Any, ctx: dict[str, Any]) -> int:
    value = stepfunctions._resolve_path_or_ctx(path, effective, ctx)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= FOR_EVER:
        raise stepfunctions._ExecutionError("States.Runtime", f"{path} must give a positive integer, not {value!r}")
    return value


def _fresh_token(prepare: Any) -> Any:
    """Each attempt prepares its input anew, and gets a token anew."""

    def prepared(state: dict[str, Any], data: Any, ctx: dict[str, Any] | None = None) -> Any:
        if ctx is not None and WAITING in state.get("Resource", ""):
            machine = ctx.get("StateMachine", {}).get("Id", "")
            ctx["Task"] = {"Token": workflow_tokens.new(ctx["Execution"]["Id"], machine)}
        return prepare(state, data, ctx)

    return prepared


def _invoke_with_callback(resource: str, request: Any, token: str, state: dict[str, Any]) -> Any:
    began = time.monotonic()
    task = Waiting(_execution.get())
    stepfunctions._task_tokens[token] = task
    try:
        call = threading.Thread(
            target=contextvars.copy_context().run, args=(_call, task, resource.replace(WAITING, ""), request), daemon=True)
        call.start()
        return _wait(task, began + state.get("TimeoutSeconds", FOR_EVER), state.get("HeartbeatSeconds", FOR_EVER))
    finally:
        stepfunctions._task_tokens.pop(token, None)


def _call(task: Waiting, resource: str, request: Any) -> None:
    try:
        stepfunctions._invoke_resource(resource, request)
    except stepfunctions._ExecutionError as failure:
        task.end(failure=failure)
    except Exception as failure:
        task.end(failure=stepfunctions._ExecutionError("States.Runtime", str(failure)))


def _wait(task: Waiting, deadline: float, heartbeat: float) -> Any:
    while True:
        left = min(deadline, task.heard + heartbeat) - time.monotonic()
        if task.ended.wait(max(0.0, min(left, _LOOK_EVERY_SECONDS))):
            break
        if not is_open(task.execution):
            raise Ended
        if left <= 0:
            late = "States.Timeout" if time.monotonic() >= deadline else "States.HeartbeatTimeout"
            if task.end(failure=stepfunctions._ExecutionError(late, "")):
                break
    if task.failure is not None:
        raise task.failure
    return task.result


def _send_task_success(request: dict[str, Any]) -> Response:
    output = request.get("output")
    try:
        if len((output or "").encode()) > MAX_OUTPUT_BYTES:
            raise ValueError(f"longer than {MAX_OUTPUT_BYTES} bytes")
        result = json.loads(output or "")
    except ValueError as fault:
        return error_response_json("InvalidOutput", f"Invalid Output: '{fault}'", 400)
    return _answer(request, result=result)


def _send_task_failure(request: dict[str, Any]) -> Response:
    return _answer(request, failure=stepfunctions._ExecutionError(
        request.get("error") or "", request.get("cause") or ""))


def _send_task_heartbeat(request: dict[str, Any]) -> Response:
    task = stepfunctions._task_tokens.get(request.get("taskToken"))
    if isinstance(task, Waiting) and not task.ended.is_set() and is_open(task.execution):
        task.heard = time.monotonic()
        return json_response({})
    return _emulator_heartbeat(request) if isinstance(task, dict) else _closed(request)


def _answer(request: dict[str, Any], result: Any = None,
            failure: stepfunctions._ExecutionError | None = None) -> Response:
    task = stepfunctions._task_tokens.get(request.get("taskToken"))
    if isinstance(task, dict):
        # An activity's task, which the emulator keeps itself.
        return _emulator_success(request) if failure is None else _emulator_failure(request)
    if task is not None and task.end(result, failure):
        return json_response({})
    return _closed(request)


def _closed(request: dict[str, Any]) -> Response:
    if workflow_tokens.machine_of(request.get("taskToken") or "") is None:
        return error_response_json("InvalidToken", "Invalid Token: 'Invalid token'", 400)
    return error_response_json("TaskTimedOut", "Task Timed Out: 'Provided task does not exist anymore'", 400)


def _extract_resource_arn(service: str, method: str, path: str, headers: dict, body: bytes, *rest: Any) -> str:
    if service == "states" and ".SendTask" in headers.get("x-amz-target", ""):
        try:
            token = json.loads(body or b"{}").get("taskToken") or ""
        except (ValueError, AttributeError):
            token = ""
        if machine := workflow_tokens.machine_of(token):
            return machine
    return _emulator_resource_arn(service, method, path, headers, body, *rest)


_emulator_execute_task = stepfunctions._execute_task
_emulator_success = stepfunctions._send_task_success
_emulator_failure = stepfunctions._send_task_failure
_emulator_heartbeat = stepfunctions._send_task_heartbeat
_emulator_resource_arn = iam_actions.extract_resource_arn
