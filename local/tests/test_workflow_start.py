"""AWS: starting a STANDARD execution again is no second start, and a name is used up for 90 days."""

from __future__ import annotations

import json

import pytest

from local.tests.iot_refusals import refused
from local.tests.keeping_function import new_function
from local.tests.workflows import Workflows, allow

DONE = {"Done": {"Type": "Succeed"}}
WAITS = {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}
NESTED = "arn:aws:states:::states:startExecution"


@pytest.fixture
def workflows(cloud, unique) -> Workflows:
    return Workflows(cloud, unique)


def nested(machine: str) -> dict:
    return {"Start": {"Type": "Task", "Resource": NESTED, "End": True, "Parameters": {
        "StateMachineArn": machine, "Name.$": "$.name", "Input.$": "$.given"}}}


def test_a_name_that_runs_on_the_same_input_is_answered_with_its_execution(workflows):
    machine = workflows.machine(WAITS)
    first, again = (workflows.states.start_execution(stateMachineArn=machine, name="a", input='{"n":1}') for _ in range(2))
    assert (again["executionArn"], again["startDate"]) == (first["executionArn"], first["startDate"])
    with refused("ExecutionAlreadyExists"):
        workflows.states.start_execution(stateMachineArn=machine, name="a", input='{"n":2}')


def test_a_name_whose_execution_has_ended_is_used_up(workflows):
    machine = workflows.machine(DONE)
    workflows.ended(workflows.start(machine, name="a"))
    with refused("ExecutionAlreadyExists"):
        workflows.start(machine, name="a")


@pytest.mark.parametrize("name", ["a b", "a/b", "a#b", "a:b", "a" * 81])
def test_names_that_cannot_be(workflows, name):
    with refused("InvalidName"):
        workflows.start(workflows.machine(DONE), name=name)


def test_an_input_is_json(workflows):
    with refused("InvalidExecutionInput"):
        workflows.states.start_execution(stateMachineArn=workflows.machine(DONE), input="{")


def test_a_nested_start_needs_the_permission_on_the_machine_started(workflows):
    child, other = workflows.machine(DONE), workflows.machine(DONE)
    parent = workflows.machine(nested(child), allow("states:StartExecution", child))
    started = workflows.output(parent, {"name": "a", "given": {"n": 1}})["ExecutionArn"]
    assert json.loads(workflows.ended(started)["input"]) == {"n": 1}
    stranger = workflows.machine(nested(child), allow("states:StartExecution", other))
    shown = workflows.run(stranger, {"name": "b", "given": {}})
    assert (shown["status"], shown["error"]) == ("FAILED", "StepFunctions.AWSStepFunctionsException")


def test_a_nested_start_of_a_name_used_up_fails_by_the_sdks_name(workflows):
    parent = workflows.machine(nested(workflows.machine(DONE)))
    workflows.ended(workflows.output(parent, {"name": "a", "given": {}})["ExecutionArn"])
    assert workflows.run(parent, {"name": "a", "given": {}})["error"] == "StepFunctions.ExecutionAlreadyExistsException"


def test_what_was_stopped_stays_aborted_and_begins_nothing_more(workflows, tmp_path):
    asked, caught = (new_function(workflows.cloud, workflows.unique, tmp_path) for _ in range(2))
    branch = {
        "Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "Next": "Call",
                "Parameters": {"FunctionName": asked.arn, "Payload": {"token.$": "$$.Task.Token"}},
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Call"}]},
        "Call": {"Type": "Task", "Resource": caught.arn, "End": True},
    }
    run = workflows.start(workflows.machine({"All": {
        "Type": "Parallel", "Branches": [{"StartAt": "Ask", "States": branch}], "End": True}}))
    assert asked.events()
    workflows.states.stop_execution(executionArn=run, cause="enough")
    assert caught.events(seconds=0.6) == []
    shown = workflows.states.describe_execution(executionArn=run)
    assert (shown["status"], shown["cause"]) == ("ABORTED", "enough")


def test_an_execution_has_the_time_that_its_machine_gives(workflows):
    shown = workflows.run(workflows.machine(WAITS, TimeoutSeconds=1))
    assert shown["status"] == "TIMED_OUT"


def test_no_wildcard_takes_an_error_of_the_runtime(workflows):
    machine = workflows.machine({
        "Read": {"Type": "Map", "ItemsPath": "$.items", "End": True, "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Done", "States": DONE},
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]},
        "Caught": {"Type": "Succeed"}})
    shown = workflows.run(machine, {"items": "no list"})
    assert (shown["status"], shown["error"]) == ("FAILED", "States.Runtime")
