"""AWS: a task that waits for its token ends once, in time, and by whoever may answer it."""

from __future__ import annotations

import json
import time

import pytest

from local.tests.iot_refusals import refused
from local.tests.keeping_function import KeepingFunction, new_function
from local.tests.workflows import Workflows, allow

INVOKE = "arn:aws:states:::lambda:invoke.waitForTaskToken"
SUCCEED, FAIL, BEAT = "states:SendTaskSuccess", "states:SendTaskFailure", "states:SendTaskHeartbeat"


@pytest.fixture
def workflows(cloud, unique) -> Workflows:
    return Workflows(cloud, unique)


@pytest.fixture
def function(cloud, unique, tmp_path) -> KeepingFunction:
    return new_function(cloud, unique, tmp_path)


def ask(function: KeepingFunction, **more) -> dict:
    """A task that hands its token to the function."""
    payload = {"token.$": "$$.Task.Token", **more.pop("payload", {})}
    return {"Ask": {"Type": "Task", "Resource": INVOKE, "End": True,
                    "Parameters": {"FunctionName": function.arn, "Payload": payload}, **more}}


def test_the_answer_is_the_tasks_result_and_is_taken_once(workflows, function):
    run = workflows.start(workflows.machine(ask(function)))
    token = function.events()[0]["token"]
    workflows.states.send_task_success(taskToken=token, output='{"csr": "a"}')
    with refused("TaskTimedOut"):
        workflows.states.send_task_success(taskToken=token, output="{}")
    assert json.loads(workflows.ended(run)["output"]) == {"csr": "a"}
    with refused("TaskTimedOut"):
        workflows.states.send_task_failure(taskToken=token, error="Late")
    with refused("TaskTimedOut"):
        workflows.states.send_task_heartbeat(taskToken=token)


def test_a_failure_can_be_caught(workflows, function):
    states = ask(function, Catch=[{"ErrorEquals": ["Refused"], "Next": "Caught"}])
    run = workflows.start(workflows.machine({**states, "Caught": {"Type": "Pass", "End": True}}))
    workflows.states.send_task_failure(taskToken=function.events()[0]["token"], error="Refused", cause="why")
    assert json.loads(workflows.ended(run)["output"]) == {"Error": "Refused", "Cause": "why"}


@pytest.mark.parametrize("token", ["x", "AAAA", "bm8gdG9rZW4="])
def test_what_never_was_a_token_is_said_to_be_invalid(workflows, token):
    with refused("InvalidToken"):
        workflows.states.send_task_success(taskToken=token, output="{}")


@pytest.mark.parametrize("output", ["", "{", "no"])
def test_an_output_is_json(workflows, function, output):
    workflows.start(workflows.machine(ask(function)))
    with refused("InvalidOutput"):
        workflows.states.send_task_success(taskToken=function.events()[0]["token"], output=output)


@pytest.mark.parametrize("limit", [
    {"TimeoutSeconds": 1}, {"TimeoutSecondsPath": "$.seconds"}, {"HeartbeatSeconds": 1, "TimeoutSeconds": 60},
])
def test_a_task_that_nobody_answers_times_out_and_its_token_with_it(workflows, function, limit):
    names = {"ErrorEquals": ["States.Timeout", "States.HeartbeatTimeout"], "Next": "Late"}
    states = {**ask(function, Catch=[names], **limit), "Late": {"Type": "Pass", "End": True}}
    began = time.monotonic()
    late = workflows.output(workflows.machine(states), {"seconds": 1})
    assert late["Error"] == ("States.HeartbeatTimeout" if "HeartbeatSeconds" in limit else "States.Timeout")
    assert 1 <= time.monotonic() - began < 3
    with refused("TaskTimedOut"):
        workflows.states.send_task_success(taskToken=function.events()[0]["token"], output="{}")


@pytest.mark.parametrize("seconds", [0, -1, "1", None, 1.5])
def test_a_timeout_by_path_is_a_positive_integer(workflows, function, seconds):
    shown = workflows.run(workflows.machine(ask(function, TimeoutSecondsPath="$.seconds")), {"seconds": seconds})
    assert shown["error"] == "States.Runtime"


def test_a_call_that_fails_fails_the_task_and_each_attempt_has_its_token(workflows, function):
    retry = [{"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 1, "MaxAttempts": 1}]
    shown = workflows.run(workflows.machine(ask(function, payload={"fail": "no"}, Retry=retry)))
    assert "no" in shown["cause"]
    assert len({event["token"] for event in function.events(2)}) == 2


def test_each_branch_has_its_own_token(workflows, function):
    tasks = [ask(function, payload={"branch": number})["Ask"] for number in range(4)]
    branches = [{"StartAt": f"Ask {number}", "States": {f"Ask {number}": task}} for number, task in enumerate(tasks)]
    run = workflows.start(workflows.machine({"All": {"Type": "Parallel", "Branches": branches, "End": True}}))
    for event in function.events(4):
        workflows.states.send_task_success(taskToken=event["token"], output=json.dumps(event["branch"]))
    assert json.loads(workflows.ended(run)["output"]) == [0, 1, 2, 3]


def test_an_execution_that_was_stopped_takes_no_answer(workflows, function):
    run = workflows.start(workflows.machine(ask(function)))
    token = function.events()[0]["token"]
    workflows.states.stop_execution(executionArn=run)
    with refused("TaskTimedOut"):
        workflows.states.send_task_success(taskToken=token, output="{}")


def test_whoever_answers_needs_the_permission_on_the_state_machine(workflows, function, cloud, unique):
    machine, other = workflows.machine(ask(function)), workflows.machine(ask(function))
    run = workflows.start(machine)
    token = function.events()[0]["token"]
    answer = {"taskToken": token, "output": "{}"}
    for statements in ([], [allow(FAIL, "*")], [allow([SUCCEED, BEAT], other)]):
        stranger = cloud.as_role(unique("stranger"), [*statements, allow("s3:ListAllMyBuckets", "*")])
        with refused("AccessDeniedException"):
            stranger("stepfunctions").send_task_success(**answer)
    cloud.as_role(unique("answerer"), [allow(SUCCEED, machine)])("stepfunctions").send_task_success(**answer)
    assert workflows.ended(run)["status"] == "SUCCEEDED"


def test_the_workflow_invokes_as_its_role(workflows, function):
    shown = workflows.run(workflows.machine(ask(function), allow("lambda:InvokeFunction", f"{function.arn}-other")))
    assert shown["error"] == "Lambda.AWSLambdaException"
    assert function.events(1, seconds=0.1) == []
