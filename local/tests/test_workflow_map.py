"""AWS: a Distributed Map reads, batches, bounds, tolerates and writes as its state says, and as its role may."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local.tests.iot_refusals import refused
from local.tests.keeping_function import KeepingFunction, new_function
from local.tests.workflows import Workflows, allow

PASS = {"Pass": {"Type": "Pass", "End": True}}
ODD = {
    "Odd": {"Type": "Choice", "Choices": [{"Variable": "$.fail", "BooleanEquals": True, "Next": "Fail"}], "Default": "Fine"},
    "Fail": {"Type": "Fail", "Error": "Bad", "Cause": "asked"},
    "Fine": {"Type": "Pass", "End": True},
}


@pytest.fixture
def workflows(cloud, unique) -> Workflows:
    return Workflows(cloud, unique)


@pytest.fixture
def bucket(cloud, unique) -> str:
    name = unique("map-bucket")
    cloud.client("s3").create_bucket(Bucket=name)
    return name


def over(states: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Map": {"Type": "Map", "Label": "Devices", "End": True, "ItemProcessor": {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": next(iter(states)), "States": states}, **more}}


def reader(bucket: str, key: str, **config: Any) -> dict[str, Any]:
    return {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": config,
            "Parameters": {"Bucket": bucket, "Key": key}}


def asks(function: KeepingFunction) -> dict[str, Any]:
    """States that hand their token to the function."""
    return {"Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "End": True,
                    "Parameters": {"FunctionName": function.arn, "Payload": {"token.$": "$$.Task.Token"}}}}


@pytest.mark.parametrize(("text", "config", "items"), [
    ('[{"n": 1}, {"n": 2}]', {"InputType": "JSON"}, [{"n": 1}, {"n": 2}]),
    ('[{"n": 1}, {"n": 2}]', {"InputType": "JSON", "MaxItems": 1}, [{"n": 1}]),
    ('{"n": 1}\n\n{"n": 2}\n', {"InputType": "JSONL"}, [{"n": 1}, {"n": 2}]),
    ("n,m\n1,a\n2,b\n", {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}, [{"n": "1", "m": "a"}, {"n": "2", "m": "b"}]),
])
def test_items_are_read_from_s3(workflows, cloud, bucket, text, config, items):
    cloud.client("s3").put_object(Bucket=bucket, Key="plan", Body=text.encode())
    assert workflows.output(workflows.machine(over(PASS, ItemReader=reader(bucket, "plan", **config)))) == items


def test_what_cannot_be_read_can_be_caught(workflows, cloud, bucket):
    cloud.client("s3").put_object(Bucket=bucket, Key="broken", Body=b"{")
    cloud.client("s3").put_object(Bucket=bucket, Key="object", Body=b"{}")
    for key in ("missing", "broken", "object"):
        states = over(PASS, ItemReader=reader(bucket, key, InputType="JSON"),
                      Catch=[{"ErrorEquals": ["States.ItemReaderFailed"], "Next": "Caught"}])
        caught = workflows.output(workflows.machine({**states, "Caught": {"Type": "Pass", "End": True}}))
        assert caught["Error"] == "States.ItemReaderFailed", key


def test_a_selector_sees_item_index_and_the_states_input(workflows):
    selector = {"item.$": "$$.Map.Item.Value", "index.$": "$$.Map.Item.Index", "campaign.$": "$.campaign"}
    machine = workflows.machine(over(PASS, ItemsPath="$.things", ItemSelector=selector))
    assert workflows.output(machine, {"things": ["a", "b"], "campaign": "c"}) == [
        {"item": "a", "index": 0, "campaign": "c"}, {"item": "b", "index": 1, "campaign": "c"}]


@pytest.mark.parametrize(("batcher", "batches"), [
    ({"MaxItemsPerBatch": 2}, [[1, 2], [3, 4], [5]]),
    ({"MaxItemsPerBatchPath": "$.most"}, [[1, 2, 3, 4], [5]]),
    ({"MaxInputBytesPerBatch": 22}, [[1, 2, 3], [4, 5]]),
])
def test_items_come_in_batches(workflows, batcher, batches):
    machine = workflows.machine(over(PASS, ItemsPath="$.things", ItemBatcher=batcher))
    assert workflows.output(machine, {"things": [1, 2, 3, 4, 5], "most": 4}) == [{"Items": each} for each in batches]


def test_a_batch_has_what_all_batches_have(workflows):
    batcher = {"MaxItemsPerBatch": 2, "BatchInput": {"campaign.$": "$.campaign"}}
    machine = workflows.machine(over(PASS, ItemsPath="$.things", ItemBatcher=batcher))
    assert workflows.output(machine, {"things": [1], "campaign": "c"}) == [{"Items": [1], "BatchInput": {"campaign": "c"}}]


@pytest.mark.parametrize(("tolerance", "failing", "succeeds"), [
    ({}, 1, False),
    ({"ToleratedFailurePercentage": 25}, 1, True),
    ({"ToleratedFailurePercentage": 25}, 2, False),
    ({"ToleratedFailurePercentagePath": "$.percentage"}, 2, True),
    ({"ToleratedFailureCount": 1}, 1, True),
    ({"ToleratedFailureCount": 1}, 2, False),
    ({"ToleratedFailureCount": 3, "ToleratedFailurePercentage": 25}, 2, False),
])
def test_failures_are_tolerated_up_to_the_threshold(workflows, tolerance, failing, succeeds):
    machine = workflows.machine(over(ODD, ItemsPath="$.things", **tolerance))
    shown = workflows.run(machine, {"things": [{"fail": n < failing} for n in range(4)], "percentage": 50})
    assert shown["status"] == ("SUCCEEDED" if succeeds else "FAILED")
    if succeeds:
        results = json.loads(shown["output"])
        assert [each.get("Status") for each in results] == ["FAILED"] * failing + [None] * (4 - failing)
    else:
        assert shown["error"] == "States.ExceedToleratedFailureThreshold"


def test_once_the_threshold_is_exceeded_nothing_more_is_started(workflows):
    machine = workflows.machine(over(ODD, ItemsPath="$.things", MaxConcurrency=1))
    run = workflows.start(machine, {"things": [{"fail": n == 1} for n in range(5)]})
    workflows.ended(run)
    [map_run] = workflows.states.list_map_runs(executionArn=run)["mapRuns"]
    shown = workflows.states.describe_map_run(mapRunArn=map_run["mapRunArn"])
    assert shown["status"] == "FAILED"
    counts = shown["itemCounts"]
    assert {name: counts[name] for name in ("succeeded", "failed", "pending", "total")} == {
        "succeeded": 1, "failed": 1, "pending": 3, "total": 5}


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_run_at_a_time(workflows, cloud, unique, tmp_path, concurrency):
    function = new_function(cloud, unique, tmp_path)
    run = workflows.start(workflows.machine(over(asks(function), ItemsPath="$.things", MaxConcurrency=concurrency)),
                          {"things": list(range(6))})
    seen = 0
    while seen < 6:
        waiting = function.events(seen + concurrency)[seen:]
        assert len(waiting) == concurrency
        assert len(function.events(seen + concurrency + 1, seconds=0.2)) == seen + concurrency
        for event in waiting:
            workflows.states.send_task_success(taskToken=event["token"], output="1")
        seen += concurrency
    assert json.loads(workflows.ended(run)["output"]) == [1] * 6


def test_a_run_can_be_widened_and_made_more_tolerant_by_whoever_may(workflows, cloud, unique, tmp_path):
    function = new_function(cloud, unique, tmp_path)
    run = workflows.start(workflows.machine(over(asks(function), ItemsPath="$.things", MaxConcurrency=1)),
                          {"things": [1, 2]})
    assert function.events(1)
    assert len(function.events(2, seconds=0.3)) == 1
    [map_run] = [each["mapRunArn"] for each in workflows.states.list_map_runs(executionArn=run)["mapRuns"]]
    update = {"mapRunArn": map_run, "maxConcurrency": 2, "toleratedFailureCount": 1}
    stranger = cloud.as_role(unique("stranger"), [allow("states:UpdateMapRun", f"{map_run}-other")])
    with refused("AccessDeniedException"):
        stranger("stepfunctions").update_map_run(**update)
    cloud.as_role(unique("operator"), [allow("states:UpdateMapRun", map_run)])("stepfunctions").update_map_run(**update)
    first, second = function.events(2)
    workflows.states.send_task_failure(taskToken=first["token"], error="Bad")
    workflows.states.send_task_success(taskToken=second["token"], output="1")
    assert workflows.ended(run)["status"] == "SUCCEEDED"


def test_stopping_the_execution_stops_its_children(workflows, cloud, unique, tmp_path):
    function = new_function(cloud, unique, tmp_path)
    run = workflows.start(workflows.machine(over(asks(function), ItemsPath="$.things")), {"things": [1]})
    token = function.events()[0]["token"]
    workflows.states.stop_execution(executionArn=run)
    with refused("TaskTimedOut"):
        workflows.states.send_task_success(taskToken=token, output="1")


def test_results_are_written_by_status_beside_a_manifest(workflows, cloud, bucket):
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket, "Prefix": "results"}}
    machine = workflows.machine(over(ODD, ItemsPath="$.things", ToleratedFailurePercentage=100, ResultWriter=writer))
    told = workflows.output(machine, {"things": [{"fail": False, "n": 1}, {"fail": True, "n": 2}]})
    where, s3 = told["ResultWriterDetails"], cloud.client("s3")
    assert where == {"Bucket": bucket, "Key": f"results/{told['MapRunArn'].rsplit(':', 1)[1]}/manifest.json"}

    def load(key: str) -> Any:
        return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    files = load(where["Key"])["ResultFiles"]
    assert files["PENDING"] == []
    [good], [bad] = (load(files[status][0]["Key"]) for status in ("SUCCEEDED", "FAILED"))
    assert (good["Status"], json.loads(good["Output"])) == ("SUCCEEDED", {"fail": False, "n": 1})
    assert (bad["Status"], bad["Error"], bad["Cause"], json.loads(bad["Input"])["n"]) == ("FAILED", "Bad", "asked", 2)


MAY_START = allow("states:StartExecution", "*")


@pytest.mark.parametrize(("actions", "error"), [
    (["s3:GetObject", "s3:PutObject"], "States.Runtime"),
    (["states:StartExecution", "s3:PutObject"], "States.ItemReaderFailed"),
    (["states:StartExecution", "s3:GetObject"], "States.ResultWriterFailed"),
    (["states:StartExecution", "s3:GetObject", "s3:PutObject"], None),
])
def test_the_run_needs_its_permissions(workflows, cloud, bucket, actions, error):
    cloud.client("s3").put_object(Bucket=bucket, Key="plan", Body=b"[1]")
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": bucket}}
    machine = workflows.machine(over(PASS, ItemReader=reader(bucket, "plan", InputType="JSON"), ResultWriter=writer),
                                allow(actions, "*"))
    assert workflows.run(machine).get("error") == error


@pytest.mark.parametrize("mode", ["DISTRIBUTED", "INLINE", "PARALLEL"])
def test_a_branch_does_only_what_the_role_allows(workflows, cloud, unique, tmp_path, mode):
    function = new_function(cloud, unique, tmp_path)
    call = {"Call": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": True,
                     "Parameters": {"FunctionName": function.arn, "Payload": {}}}}
    states = over(call, ItemsPath="$.things")
    if mode == "INLINE":
        states["Map"]["ItemProcessor"]["ProcessorConfig"] = {"Mode": "INLINE"}
        del states["Map"]["Label"]
    if mode == "PARALLEL":
        states = {"All": {"Type": "Parallel", "Branches": [{"StartAt": "Call", "States": call}], "End": True}}
    shown = workflows.run(workflows.machine(states, MAY_START), {"things": [1]})
    assert shown["status"] == "FAILED"
    assert function.events(1, seconds=0.1) == []


def test_a_child_is_an_execution_of_its_own(workflows):
    told = {"Tell": {"Type": "Pass", "End": True, "Parameters": {
        "id.$": "$$.Execution.Id", "machine.$": "$$.StateMachine.Id", "input.$": "$$.Execution.Input"}}}
    machine = workflows.machine(over(told, ItemsPath="$.things"))
    [child] = workflows.output(machine, {"things": [7]})
    assert child["machine"] == f"{machine}/Devices"
    assert child["id"].startswith(f"{machine.replace(':stateMachine:', ':execution:')}/Devices:")
    assert child["input"] == 7
