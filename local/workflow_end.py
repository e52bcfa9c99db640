"""An execution ends once, and in time.

AWS rules restored: "State machine structure in Amazon States Language for Step
Functions workflows", `TimeoutSeconds`: an execution that runs longer becomes
TIMED_OUT. API Reference, "StopExecution": what was stopped is ABORTED,
whatever its last task does later, and nothing more is begun in it. The
emulator has no limit of time, an execution that was stopped becomes FAILED when
its last task fails, and its Map and Parallel branches go on.
"""

from __future__ import annotations

import contextvars
import json
import threading
from typing import Any

from ministack.services import stepfunctions


class Ended(Exception):
    """The execution is over. Not an error of the task, so that neither Retry nor Catch takes it."""


def is_open(execution: dict[str, Any]) -> bool:
    """Whether the execution runs, and so does the one whose Map state started it."""
    run = stepfunctions._map_runs.get(execution.get("mapRunArn", "")) if execution.get("mapRunArn") else None
    if run is not None:
        parent = stepfunctions._executions.get(run["executionArn"])
        if run["status"] != "RUNNING" or parent is None or not is_open(parent):
            return False
    return execution["status"] == "RUNNING"


def _fail_execution(execution: dict[str, Any], error: str, cause: str) -> None:
    if execution["status"] == "RUNNING":
        _emulator_fail_execution(execution, error, cause)


def _run_execution(execution_arn: str) -> Any:
    execution = stepfunctions._executions.get(execution_arn) or {}
    seconds = _limit(execution)
    if seconds is None:
        return _emulator_run_execution(execution_arn)
    clock = threading.Timer(seconds, contextvars.copy_context().run, [_time_out, execution])
    clock.daemon = True
    clock.start()
    try:
        return _emulator_run_execution(execution_arn)
    finally:
        clock.cancel()


def _execute_task(state: dict[str, Any], raw_input: Any, execution: dict[str, Any], ctx: dict[str, Any]) -> Any:
    if not is_open(execution):
        raise Ended
    return _emulator_execute_task(state, raw_input, execution, ctx)


def _limit(execution: dict[str, Any]) -> float | None:
    machine = stepfunctions._state_machines.get(execution.get("stateMachineArn", "")) or {}
    try:
        return json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
    except ValueError:
        return None


def _time_out(execution: dict[str, Any]) -> None:
    if execution["status"] != "RUNNING":
        return
    execution["status"] = "TIMED_OUT"
    execution["stopDate"] = stepfunctions.now_iso()
    stepfunctions._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {}})
    stepfunctions._emit_execution_status_event(execution)


def install() -> None:
    """Keep the first end of each execution."""
    stepfunctions._fail_execution = _fail_execution
    stepfunctions._run_execution = _run_execution
    stepfunctions._execute_task = _execute_task


_emulator_fail_execution = stepfunctions._fail_execution
_emulator_run_execution = stepfunctions._run_execution
_emulator_execute_task = stepfunctions._execute_task
