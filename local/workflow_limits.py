"""What a workflow can carry.

AWS Step Functions Developer Guide, "Step Functions service quotas": the input or
result of a task, state or execution has 262,144 bytes of UTF-8 at most; a longer
one ends the execution with `States.DataLimitExceeded`, and StartExecution refuses
a longer input. The emulator carries anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import stepfunctions

MOST_BYTES = 262_144


def install() -> None:
    for kind in ("pass", "task", "choice", "wait", "parallel", "map"):
        name = f"_execute_{kind}"
        setattr(stepfunctions, name, _bounded_state(getattr(stepfunctions, name)))
    invoke, start = stepfunctions._invoke_resource, stepfunctions._start_execution

    def invoke_resource(resource: str, request: Any) -> Any:
        _check(request, "task", resource)
        result = invoke(resource, request)
        _check(result, "task", resource)
        return result

    def start_execution(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if len((request.get("input") or "").encode()) > MOST_BYTES:
            return error_response_json(
                "ValidationException", "1 validation error detected: Value at 'input' failed to satisfy constraint: "
                f"Member must have length less than or equal to {MOST_BYTES}", 400)
        return start(request)

    stepfunctions._invoke_resource = invoke_resource
    stepfunctions._start_execution = start_execution


def _bounded_state(execute: Callable[..., tuple[Any, str | None]]) -> Callable[..., tuple[Any, str | None]]:
    def bounded(*arguments: Any) -> tuple[Any, str | None]:
        output, following = execute(*arguments)
        # The context is the last argument of all of them.
        _check(output, "state", (arguments[-1] or {}).get("State", {}).get("Name", ""))
        return output, following

    return bounded


def _check(data: Any, kind: str, name: str) -> None:
    if len(json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str).encode()) > MOST_BYTES:
        raise stepfunctions._ExecutionError(
            "States.DataLimitExceeded",
            f"The {kind} '{name}' returned a result with a size exceeding the maximum number of bytes service limit.")
