"""AWS: a definition that cannot work is refused, by the API and by a stack."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from local.deploy import DeployFailed, Deployment, deploy
from local.settings import ROOT, StateDir
from local.tests.iot_refusals import refused
from local.tests.workflows import Workflows
from local.workflow_definition import faults

DONE = {"Done": {"Type": "Succeed"}}
CALLBACK = "arn:aws:states:::lambda:invoke.waitForTaskToken"


@pytest.fixture
def workflows(cloud, unique) -> Workflows:
    return Workflows(cloud, unique)


def over(mode: dict[str, str], states: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    states = states or DONE
    return {"Map": {"Type": "Map", "End": True, **more, "ItemProcessor": {
        "ProcessorConfig": mode, "StartAt": next(iter(states)), "States": states}}}


DISTRIBUTED = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
EXPRESS = {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}
TASK = {"Type": "Task", "Resource": CALLBACK, "End": True}


@pytest.mark.parametrize("states", [
    {"A": {"Type": "Pass", "Next": "Gone"}},
    {"A": {"Type": "Pass", "End": True}, "B": {"Type": "Pass", "End": True}},
    {"A": {"Type": "Pass"}},
    {"A": {"Type": "Pass", "End": True, "Next": "A"}},
    {"A": {"Type": "Succeed", "End": True}},
    {"A": {"Type": "Unknown", "End": True}},
    {"A" * 81: {"Type": "Succeed"}},
    {"A": {"Type": "Choice", "Choices": []}},
    {"A": {**TASK, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Gone"}]}},
    {"A": {**TASK, "Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["B"]}]}},
    {"A": {**TASK, "Retry": [{"ErrorEquals": ["B", "States.ALL"]}]}},
    {"A": {**TASK, "TimeoutSeconds": 5, "TimeoutSecondsPath": "$.a"}},
    {"A": {**TASK, "TimeoutSeconds": 5, "HeartbeatSeconds": 5}},
    {"A": {"Type": "Task", "End": True}},
    {"A": {"Type": "Parallel", "End": True, "Branches": [{"StartAt": "A", "States": DONE}]}},
    {"A": {"Type": "Parallel", "End": True, "Branches": [{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}]}},
    over({"Mode": "DISTRIBUTED"}),
    over({"Mode": "INLINE"}, ItemBatcher={"MaxItemsPerBatch": 1}),
    over(DISTRIBUTED, Label="a b"),
    over(EXPRESS, {"Ask": TASK}),
])
def test_what_cannot_work_is_refused(workflows, states):
    with refused("InvalidDefinition"):
        workflows.machine(states)


@pytest.mark.parametrize("states", [
    {"A": TASK}, over(DISTRIBUTED, {"Ask": TASK}, Label="Devices"), over(EXPRESS), over({"Mode": "INLINE"}),
])
def test_what_can_work_is_taken(workflows, states):
    workflows.machine(states)


def test_our_own_definitions_are_well():
    found = {file.name: faults(file.read_text()) for file in (ROOT / "statemachines").glob("*.json")}
    assert found and not any(found.values()), found


def test_a_stack_with_such_a_definition_fails(cloud, unique, tmp_path):
    template = tmp_path / "template.yaml"
    template.write_text(yaml.safe_dump({"Transform": "AWS::Serverless-2016-10-31", "Resources": {
        "Flow": {"Type": "AWS::Serverless::StateMachine", "Properties": {
            "Type": "EXPRESS", "Definition": {"StartAt": "A", "States": {"A": TASK}}, "Policies": []}}}}))
    with pytest.raises(DeployFailed, match="Express state machine does not support"):
        deploy(Deployment(cloud.endpoint, template, unique("invalid"), {}), StateDir(tmp_path))
