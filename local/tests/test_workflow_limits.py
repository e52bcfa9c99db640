"""AWS: no input and no result is longer than 262,144 bytes."""

from __future__ import annotations

import pytest

from local.tests.iot_refusals import refused
from local.tests.keeping_function import new_function
from local.tests.workflows import Workflows

MOST = 262_144


@pytest.fixture
def workflows(cloud, unique) -> Workflows:
    return Workflows(cloud, unique)


def test_an_execution_is_not_started_on_more(workflows):
    machine = workflows.machine({"Done": {"Type": "Succeed"}})
    workflows.start(machine, "x" * (MOST - 2))
    with refused("ValidationException"):
        workflows.start(machine, "x" * (MOST - 1))


@pytest.mark.parametrize(("length", "error"), [(MOST // 2 - 20, None), (MOST // 2, "States.DataLimitExceeded")])
def test_a_state_does_not_hand_on_more_and_nothing_catches_that(workflows, length, error):
    twice = {"a.$": "$", "b.$": "$"}
    machine = workflows.machine({
        "All": {"Type": "Parallel", "End": True, "Parameters": twice, "Branches": [{
            "StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}}],
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]},
        "Caught": {"Type": "Succeed"}})
    assert workflows.run(machine, "x" * length).get("error") == error


def test_a_task_does_not_give_more(workflows, cloud, unique, tmp_path):
    function = new_function(cloud, unique, tmp_path)
    machine = workflows.machine({"Call": {
        "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True, "ResultPath": None,
        "Parameters": {"FunctionName": function.arn, "Payload": {"a.$": "$", "b.$": "$"}}}})
    assert workflows.run(machine, "x" * (MOST // 2)).get("error") == "States.DataLimitExceeded"
    assert workflows.run(machine, "x" * 1000).get("error") is None
