"""A Map in distributed mode.

AWS Step Functions Developer Guide, "Using Map state in Distributed mode" and
"Setting failure thresholds for Distributed Map states": a Map Run starts a
child execution for each item or batch, for which the role needs
`states:StartExecution` on its own state machine; as many run at a time as
`MaxConcurrency` says, or UpdateMapRun says meanwhile; once more items have failed than `ToleratedFailureCount`
or `ToleratedFailurePercentage` allow (without either, once any has), the rest
is stopped and the state fails with `States.ExceedToleratedFailureThreshold`.
A child is an execution of its own: its context says so.

The emulator has neither batches nor ResultWriter nor thresholds by path, runs
all items whatever failed, reads S3 as nobody, runs 64 children at most, heeds
no UpdateMapRun, and asks for permissions on Map Runs by no name. Its Parallel
branches share one context, so that one's task token reaches another.
"""

from __future__ import annotations

import contextvars
import copy
import json
import threading
from typing import Any

from ministack.core import iam_actions
from ministack.services import stepfunctions

from local import workflow_map_items as map_items
from local import workflow_map_results as map_results
from local.workflow_end import Ended, is_open
from local.workflow_role import Need, require

MOST_CHILDREN = 1000
# How soon a run notices that it may start more children, or none any more.
_LOOK_EVERY_SECONDS = 0.2

TOLERATED = ("toleratedFailureCount", "toleratedFailurePercentage")
COUNTS = ("pending", "running", "succeeded", "failed", "timedOut", "aborted", "total", "resultsWritten",
          "failuresNotRedrivable", "pendingRedrive")

# The member of a run's record that holds the thresholds that were given; 0 is another than none.
_GIVEN = "_thresholds"

State = dict[str, Any]
Context = dict[str, Any]


class MapRun:
    """One run, and the children that it starts."""

    def __init__(self, state: State, inputs: list[tuple[Any, int]], execution: State, thresholds: dict[str, float],
                 concurrency: int) -> None:
        machine = execution["stateMachineArn"]
        label = state.get("Label") or stepfunctions.new_uuid()
        self.machine = f"{machine}/{label}"
        self.arn = f"{machine.replace(':stateMachine:', ':mapRun:')}/{label}:{stepfunctions.new_uuid()}"
        self._changed = threading.Condition()
        self._items = sum(size for _, size in inputs)
        self.record = {
            "mapRunArn": self.arn, "executionArn": execution["executionArn"], "status": "RUNNING",
            "startDate": stepfunctions.now_iso(), "maxConcurrency": concurrency, "redriveCount": 0,
            "toleratedFailureCount": int(thresholds.get(TOLERATED[0], 0)),
            "toleratedFailurePercentage": float(thresholds.get(TOLERATED[1], 0)),
            "itemCounts": dict.fromkeys(COUNTS, 0), "executionCounts": dict.fromkeys(COUNTS, 0),
            "_stateMachineArn": self.machine, _GIVEN: thresholds,
        }
        self.children = [self._child(child_input, execution) for child_input, _ in inputs]
        self.sizes = [size for _, size in inputs]
        for size in self.sizes:
            self._count(size, total=1, pending=1)
        stepfunctions._map_runs[self.arn] = self.record

    def run(self, iterator: State, ctx: Context) -> None:
        """Run the children in their order, as many at a time as may, until the run is over."""
        threads = []
        for child, size in zip(self.children, self.sizes, strict=True):
            if not self._wait_for_place(child):
                break
            child.update(status="RUNNING", startDate=stepfunctions.now_iso())
            stepfunctions._executions[child["executionArn"]] = child
            self._count(size, pending=-1, running=1)
            threads.append(threading.Thread(
                target=contextvars.copy_context().run, args=(self._run_child, iterator, child, size, ctx), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _wait_for_place(self, child: State) -> bool:
        """Wait until one more may run. False once none may."""
        with self._changed:
            while is_open({**child, "status": "RUNNING"}):
                if self.record["executionCounts"]["running"] < (self.record["maxConcurrency"] or MOST_CHILDREN):
                    return True
                self._changed.wait(_LOOK_EVERY_SECONDS)
        return False

    def _run_child(self, iterator: State, child: State, size: int, ctx: Context) -> None:
        child_input = json.loads(child["input"])
        try:
            output = stepfunctions._run_sub_machine(
                iterator["States"], iterator["StartAt"], child_input, child, self._context(child, child_input, ctx))
            end = {"status": "SUCCEEDED", "output": json.dumps(output)}
        except Ended:
            end = {"status": "ABORTED"}
        except stepfunctions._ExecutionError as failure:
            end = {"status": "FAILED", "error": failure.error, "cause": failure.cause}
        except Exception as failure:
            end = {"status": "FAILED", "error": "States.Runtime", "cause": str(failure)}
        child.update(end, stopDate=stepfunctions.now_iso())
        with self._changed:
            self._count(size, running=-1, **{end["status"].lower(): 1})
            if self.too_many_failed():
                # Its children see it, and stop.
                self.record["status"] = "FAILED"
            self._changed.notify_all()

    def too_many_failed(self) -> bool:
        """Whether a threshold is exceeded."""
        failed = self.record["itemCounts"]["failed"]
        count, percentage = (self.record[_GIVEN].get(name) for name in TOLERATED)
        if count is None and percentage is None:
            return failed > 0
        return (count is not None and failed > count) or (
            percentage is not None and failed * 100 > percentage * self._items)

    def end(self) -> None:
        """Close the run."""
        self.record.update(status="FAILED" if self.too_many_failed() else "SUCCEEDED", stopDate=stepfunctions.now_iso())

    def _child(self, child_input: Any, execution: State) -> State:
        name = stepfunctions.new_uuid()
        return {
            "executionArn": f"{self.machine.replace(':stateMachine:', ':execution:')}:{name}",
            "stateMachineArn": self.machine, "name": name, "status": "PENDING", "startDate": None, "stopDate": None,
            "input": json.dumps(child_input), "inputDetails": {"included": True}, "output": None,
            "outputDetails": {"included": True}, "mapRunArn": self.arn, "events": [],
            "testCase": execution.get("testCase"), "mockAttempts": {},
        }

    def _context(self, child: State, child_input: Any, ctx: Context) -> Context:
        own = copy.deepcopy(ctx)
        own["Execution"] = {**own["Execution"], "Id": child["executionArn"], "Name": child["name"],
                            "Input": child_input, "StartTime": child["startDate"]}
        own["StateMachine"] = {**own["StateMachine"], "Id": self.machine}
        return own

    def _count(self, size: int, **changes: int) -> None:
        with self._changed:
            for name, change in changes.items():
                self.record["executionCounts"][name] += change
                self.record["itemCounts"][name] += change * size


def _run_distributed_map(state: State, raw_input: Any, effective: Any, iterator: State, execution: State,
                         ctx: Context) -> tuple[Any, str | None]:
    require(Need("states:StartExecution", execution["stateMachineArn"], "States.Runtime"))
    items = map_items.read(state, effective, ctx)
    thresholds = {
        name: value for name in TOLERATED
        if (value := map_items.number(state, name[0].upper() + name[1:], effective, ctx)) is not None}
    concurrency = int(map_items.number(state, "MaxConcurrency", effective, ctx) or 0)
    run = MapRun(state, map_items.inputs(state, items, effective, ctx), execution, thresholds, concurrency)
    run.run(iterator, ctx)
    run.end()
    if not is_open(execution):
        raise Ended
    result = map_results.result(state.get("ResultWriter") or {}, run.children, run.arn, effective, ctx)
    if run.too_many_failed():
        raise stepfunctions._ExecutionError(
            "States.ExceedToleratedFailureThreshold", "The specified tolerated failure threshold was exceeded")
    output = stepfunctions._apply_result_path(state, raw_input, stepfunctions._apply_result_selector(state, result))
    return stepfunctions._apply_output_path(state, output, ctx), stepfunctions._next_or_end(state)


def _update_map_run(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    record = stepfunctions._map_runs.get(request.get("mapRunArn")) or {}
    if record.get("status") == "RUNNING":
        record[_GIVEN].update({name: request[name] for name in TOLERATED if name in request})
    return _emulator_update_map_run(request)


def _extract_resource_arn(service: str, method: str, path: str, headers: dict, body: bytes, *rest: Any) -> str:
    arn = _emulator_resource_arn(service, method, path, headers, body, *rest)
    if service == "states" and arn == "*" and (named := iam_actions._safe_json_field(body, "mapRunArn")):
        return named
    return arn


def _run_sub_machine(states: State, start_at: str, input_data: Any, execution: State, ctx: Context) -> Any:
    return _emulator_run_sub_machine(states, start_at, input_data, execution, dict(ctx))


def install() -> None:
    """Put the whole mode in place of the emulator's."""
    stepfunctions._run_distributed_map = _run_distributed_map
    stepfunctions._run_sub_machine = _run_sub_machine
    stepfunctions._update_map_run = _update_map_run
    iam_actions.extract_resource_arn = _extract_resource_arn


_emulator_run_sub_machine = stepfunctions._run_sub_machine
_emulator_update_map_run = stepfunctions._update_map_run
_emulator_resource_arn = iam_actions.extract_resource_arn
