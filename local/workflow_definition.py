"""A definition that AWS would refuse is refused here.

Amazon States Language specification and AWS Step Functions API Reference,
"CreateStateMachine" (InvalidDefinition): transitions lead to states of the same
scope and reach all of them; a state ends, goes on or chooses; names are unique
in the whole machine and have 80 characters at most; a fixed value and its path
exclude each other; a heartbeat is shorter than the timeout; `States.ALL` stands
alone and last; what waits for a token or for a job is no part of an express
workflow; and what only a Distributed Map has is in no other. The emulator takes
any JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ministack.services import stepfunctions

from local.cfn_handlers import after_create_and_update

LONGEST_NAME = 80
GOES_ON = ("Pass", "Task", "Wait", "Parallel", "Map")
TYPES = (*GOES_ON, "Choice", "Succeed", "Fail")
OR_BY_PATH = ("TimeoutSeconds", "HeartbeatSeconds", "MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount")
DISTRIBUTED_ONLY = ("ItemReader", "ItemBatcher", "ResultWriter", "Label", "ToleratedFailurePercentage",
                    "ToleratedFailurePercentagePath", "ToleratedFailureCount", "ToleratedFailureCountPath")
LABEL = re.compile(r"[^\s?*<>{}\[\]:;,\\|^~$#%&`\"\x00-\x1f]{1,40}")
NOT_IN_EXPRESS = re.compile(r"\.(waitForTaskToken|sync)(:2)?$")

State = dict[str, Any]


def faults(definition: str, express: bool = False) -> list[str]:
    """What is wrong with the definition, each with the place; nothing when all is well."""
    try:
        machine = json.loads(definition)
    except ValueError as fault:
        return [f"INVALID_JSON_DESCRIPTION: {fault}"]
    seen: set[str] = set()
    return list(_scope(machine, "", express, seen))


def _scope(scope: Any, place: str, express: bool, seen: set[str]) -> Iterator[str]:
    states = scope.get("States") if isinstance(scope, dict) else None
    if not isinstance(states, dict) or not states:
        yield f"SCHEMA_VALIDATION_FAILED: there are no States at {place or '/'}"
        return
    reached = {scope.get("StartAt")}
    if scope.get("StartAt") not in states:
        yield f"MISSING_TRANSITION_TARGET: Missing 'StartAt' target: {scope.get('StartAt')} at {place}/StartAt"
    for name, state in states.items():
        here = f"{place}/States/{name}"
        if name in seen:
            yield f"DUPLICATE_STATE_NAME: Duplicate State name: {name} at {here}"
        seen.add(name)
        if len(name) > LONGEST_NAME:
            yield f"SCHEMA_VALIDATION_FAILED: the name is longer than {LONGEST_NAME} characters at {here}"
        yield from _state(state, here, express, seen)
        targets = list(_targets(state))
        reached.update(targets)
        yield from (f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at {here}"
                    for target in targets if target not in states)
    yield from (f'MISSING_TRANSITION_TARGET: State "{name}" is not reachable. at {place}/States/{name}'
                for name in states if name not in reached)


def _targets(state: State) -> Iterator[str]:
    for holder in (state, *(state.get("Choices") or []), *(state.get("Catch") or [])):
        if "Next" in holder:
            yield holder["Next"]
    if "Default" in state:
        yield state["Default"]


def _state(state: State, here: str, express: bool, seen: set[str]) -> Iterator[str]:
    kind = state.get("Type")
    if kind not in TYPES:
        yield f"SCHEMA_VALIDATION_FAILED: Type {kind} at {here}"
    if (("Next" in state) + bool(state.get("End"))) != int(kind in GOES_ON):
        yield f"SCHEMA_VALIDATION_FAILED: a {kind} state has {'one of' if kind in GOES_ON else 'neither'} Next and End at {here}"
    for name in OR_BY_PATH:
        if name in state and f"{name}Path" in state:
            yield f"SCHEMA_VALIDATION_FAILED: {name} and {name}Path exclude each other at {here}"
    heartbeat, timeout = state.get("HeartbeatSeconds"), state.get("TimeoutSeconds")
    if isinstance(heartbeat, int) and isinstance(timeout, int) and heartbeat >= timeout:
        yield f"SCHEMA_VALIDATION_FAILED: HeartbeatSeconds must be smaller than TimeoutSeconds at {here}"
    yield from _handlers(state, here)
    if kind == "Choice" and not state.get("Choices"):
        yield f"SCHEMA_VALIDATION_FAILED: there are no Choices at {here}"
    if kind == "Task":
        yield from _task(state, here, express)
    if kind == "Parallel":
        for number, branch in enumerate(state.get("Branches") or [None]):
            yield from _scope(branch, f"{here}/Branches[{number}]", express, seen)
    if kind == "Map":
        yield from _map(state, here, express, seen)


def _handlers(state: State, here: str) -> Iterator[str]:
    for field in ("Retry", "Catch"):
        handlers = state.get(field) or []
        for number, handler in enumerate(handlers):
            names = handler.get("ErrorEquals") or []
            alone_and_last = len(names) == 1 and number == len(handlers) - 1
            if not names or ("States.ALL" in names and not alone_and_last):
                yield f"SCHEMA_VALIDATION_FAILED: States.ALL stands alone and last at {here}/{field}[{number}]"


def _task(state: State, here: str, express: bool) -> Iterator[str]:
    resource = state.get("Resource")
    if not isinstance(resource, str) or not resource:
        yield f"SCHEMA_VALIDATION_FAILED: a Task has a Resource at {here}"
    elif express and NOT_IN_EXPRESS.search(resource):
        yield f"SCHEMA_VALIDATION_FAILED: Express state machine does not support '{resource}' at {here}/Resource"


def _map(state: State, here: str, express: bool, seen: set[str]) -> Iterator[str]:
    processor = state.get("ItemProcessor") or state.get("Iterator")
    config = (processor or {}).get("ProcessorConfig") or {}
    distributed = config.get("Mode") == "DISTRIBUTED"
    if distributed and express:
        yield f"SCHEMA_VALIDATION_FAILED: Express state machine does not support a Distributed Map at {here}"
    if distributed and config.get("ExecutionType") not in ("STANDARD", "EXPRESS"):
        yield f"SCHEMA_VALIDATION_FAILED: ExecutionType is STANDARD or EXPRESS at {here}/ItemProcessor/ProcessorConfig"
    if not distributed:
        yield from (f"SCHEMA_VALIDATION_FAILED: only a Distributed Map has {name} at {here}"
                    for name in DISTRIBUTED_ONLY if name in state)
    if "Label" in state and not LABEL.fullmatch(state["Label"]):
        yield f"SCHEMA_VALIDATION_FAILED: Label has 40 characters at most, none of them special, at {here}/Label"
    yield from _scope(processor, f"{here}/ItemProcessor", express or config.get("ExecutionType") == "EXPRESS", seen)


def _validate(definition: str) -> str | None:
    found = faults(definition)
    return f"Invalid State Machine Definition: '{', '.join(found)}'" if found else _emulator_validate(definition)


def _check_stack(arn: str, props: dict[str, Any]) -> None:
    found = faults(stepfunctions._state_machines[arn]["definition"], props.get("StateMachineType") == "EXPRESS")
    if found:
        raise ValueError(f"Invalid State Machine Definition: '{', '.join(found)}'")


def install() -> None:
    stepfunctions._validate_definition_jsonata = _validate
    after_create_and_update("AWS::StepFunctions::StateMachine", _check_stack)


_emulator_validate = stepfunctions._validate_definition_jsonata
