"""Costs: units of DynamoDB, what is priced, and the parts of a job."""

from __future__ import annotations

import json
from typing import Any

import pytest

from local import costs, job_cost
from local.call_units import events, read_units, write_units
from local.costs import amounts, usd
from local.job_cost import JOBS, Parts, Share, parts, share

SMALL = {"Item": {"PK": {"S": "x"}}}
LARGE = {"Item": {"PK": {"S": "x" * 2048}}}
CHECK = {"ConditionCheck": {"Key": {}}}


@pytest.mark.parametrize(("operation", "request_", "written", "read"), [
    ("PutItem", SMALL, 1, 0),
    ("PutItem", LARGE, 3, 0),
    ("UpdateItem", {"Key": {}}, 1, 0),
    ("DeleteItem", {"Key": {}}, 1, 0),
    ("TransactWriteItems", {"TransactItems": [{"Put": LARGE}, {"Update": {}}, {"Delete": {}}, CHECK]}, 12, 0),
    ("BatchWriteItem", {"RequestItems": {"t": [{"PutRequest": LARGE}, {"DeleteRequest": {}}]}}, 4, 0),
    ("GetItem", {"ConsistentRead": True}, 0, 1),
    ("Query", {}, 0, 0.5),
    ("TransactGetItems", {"TransactItems": [{}, {}]}, 0, 4),
    ("BatchGetItem", {"RequestItems": {"t": {"Keys": [{}, {}, {}], "ConsistentRead": True}}}, 0, 3),
    ("DescribeTable", {}, 0, 0),
])
def test_units_are_those_of_aws(operation: str, request_: dict[str, Any], written: int, read: float) -> None:
    body = json.dumps(request_).encode()
    assert (write_units(operation, body), read_units(operation, body)) == (written, read)


def test_each_entry_is_an_event() -> None:
    assert events("PutEvents", b'{"Entries": [{}, {}]}') == 2
    assert events("PutItem", b"{}") == 0


def call(operation: str, trace: str = "1", **more: Any) -> dict[str, Any]:
    return {"function": "f", "trace": trace, "operation": operation, "writes": 0, "reads": 0.0, "events": 0, "answered": 0, **more}


def test_what_is_priced() -> None:
    took = amounts([
        call("iot:DescribeThing"), call("iot:CreateJob"), call("iot:Publish"), call("kms:Sign"), call("events:PutEvents", events=2),
        call("dynamodb:PutItem", writes=2, trace="2"),
        call("dynamodb:GetItem", reads=1.0, answered=300), call("dynamodb:Query", reads=1.0, answered=9000),
    ], transitions=3)
    assert took == {
        costs.OPERATIONS: 1, costs.TRANSITIONS: 3, costs.WRITES: 2, costs.READS: 4, costs.SIGNATURES: 1,
        costs.EVENTS: 2, costs.INVOCATIONS: 2,
    }
    assert usd({costs.TRANSITIONS: 4, costs.WRITES: 8}) == pytest.approx(105e-6)


def test_a_large_wave_has_a_group() -> None:
    assert share(10_000, job_cost.PLAN) == Share(waves=2, grouped_waves=2, lights=110, grouped_lights=9_890)
    assert share(25, [101]) == Share(waves=0, grouped_waves=1, lights=0, grouped_lights=25)
    with pytest.raises(AssertionError):
        share(3, [2])


def test_the_parts_are_found_by_which_jobs_differ() -> None:
    made = Parts({"calls": 7, "once": 1}, {"calls": 11}, {"calls": 13}, {"calls": 17}, {"calls": 19, "joins": 1})
    found = parts({name: made.of(share(*job)) for name, job in JOBS.items()})
    for part in ("once", "wave", "grouped_wave", "light", "grouped_light"):
        assert {name: much for name, much in getattr(found, part).items() if much} == getattr(made, part)
