"""The fault layer: what it records, and how each fault looks from both sides."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from local.tests.deployed import Stack

_TRACES = itertools.count()


@pytest.fixture
def trace(stack: Stack) -> Iterator[str]:
    yield f"1-5759e988-{next(_TRACES):024x}"
    stack.control("DELETE", "faults")


def item(stack: Stack, name: str) -> dict[str, Any]:
    return {"PK": {"S": f"MINE#{name}"}, "SK": {"S": "A"}}


def put(stack: Stack, name: str, **more: Any) -> tuple[str, str, dict[str, Any]]:
    return "dynamodb", "put_item", {"TableName": stack["Table"], "Item": item(stack, name), **more}


def is_there(stack: Stack, name: str) -> bool:
    return "Item" in stack.cloud.client("dynamodb").get_item(TableName=stack["Table"], Key=item(stack, name))


def test_calls_are_recorded_by_trace_with_what_iam_was_asked(stack: Stack, trace: str) -> None:
    stack.calls(
        "Probe",
        put(stack, "r"),
        ("iot", "describe_thing", {"thingName": "absent:1"}),
        ("s3", "put_object", {"Bucket": stack["Bucket"], "Key": "keys/r", "Body": "x"}),
        ("iot-data", "publish", {"topic": "mine/x", "payload": "{}"}),
        ("iot", "list_thing_principals_v2", {"thingName": "a"}),
        ("iotsecuretunneling", "list_tunnels", {}),
        trace=trace,
    )
    calls = stack.control("GET", f"calls?trace={trace}")
    assert [(call["n"], call["operation"], call["status"]) for call in calls[:4]] == [
        (1, "dynamodb:PutItem", 200), (2, "iot:DescribeThing", 404), (3, "s3:PutObject", 200), (4, "iot:Publish", 200)]
    assert [call["operation"] for call in calls[4:]] == ["iot:ListThingPrincipalsV2", "iot:ListTunnels"]
    assert [call["status"] for call in calls[4:]] == [403, 403]
    assert {call["function"] for call in calls} == {stack["Probe"]}
    assert [check["action"] for check in calls[2]["checks"]] == ["s3:PutObject", "kms:GenerateDataKey"]


@pytest.mark.parametrize(("mode", "done"), [("kill-before", False), ("kill-after", True)])
def test_a_killed_function_fails_its_invoker_and_runs_again(stack: Stack, trace: str, mode: str, done: bool) -> None:
    names = f"{mode}-1", f"{mode}-2"
    before, _ = stack.invoke("Probe", {})
    stack.control("POST", "faults", {"trace": trace, "at": 2, "mode": mode})
    failure, error = stack.invoke("Probe", {"do": "calls", "calls": [put(stack, name) for name in names]}, trace)
    assert error == "Unhandled"
    assert failure["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert [is_there(stack, name) for name in names] == [True, done]
    assert [fault["fired"] for fault in stack.control("GET", "faults")] == [1]
    after, error = stack.invoke("Probe", {})
    assert error is None and after["pid"] != before["pid"]


def test_a_killed_function_is_an_internal_server_error_of_the_api(stack: Stack, trace: str) -> None:
    stack.control("POST", "faults", {"trace": trace, "at": 1, "mode": "kill-before"})
    answer = stack.as_root().request("POST", "/things", body={"do": "calls", "calls": [put(stack, "x")]},
                                       headers={"X-Amzn-Trace-Id": f"Root={trace}"})
    assert answer == (500, {"message": "Internal Server Error"})


def test_a_dropped_reply_is_an_effect_without_an_answer(stack: Stack, trace: str) -> None:
    stack.control("POST", "faults", {"trace": trace, "at": 1, "mode": "drop-reply"})
    [result] = stack.calls("Probe", put(stack, "dropped"), trace=trace)
    assert result["error"] in ("ConnectionClosedError", "EndpointConnectionError")
    assert is_there(stack, "dropped")


@pytest.mark.parametrize(("mode", "errors", "done"), [
    ("reset", ("ConnectionClosedError", "EndpointConnectionError"), False),
    ("late", ("ReadTimeoutError",), True),
    ("never", ("ReadTimeoutError",), False),
])
def test_no_answer_with_and_without_an_effect(
    stack: Stack, trace: str, mode: str, errors: tuple[str, ...], done: bool,
) -> None:
    stack.control("POST", "faults", {"trace": trace, "at": 1, "mode": mode})
    [result] = stack.calls("Probe", put(stack, mode, PATIENCE=1), trace=trace)
    assert result["error"] in errors
    assert is_there(stack, mode) is done


def test_one_fault_of_many_is_told_by_its_number(stack: Stack, trace: str) -> None:
    _, second = (
        stack.control("POST", "faults", {"trace": trace, "at": at, "mode": "throttle"})["id"] for at in (1, 2))
    assert [fault["at"] for fault in stack.control("GET", f"faults?id={second}")] == [2]


def test_the_sdk_repeats_a_call_whose_reply_was_dropped(stack: Stack, trace: str) -> None:
    stack.control("POST", "faults", {"trace": trace, "at": 1, "mode": "drop-reply"})
    [result] = stack.calls("Probe", put(stack, "repeated", RETRY=True), trace=trace)
    assert "error" not in result
    assert [call["n"] for call in stack.control("GET", f"calls?trace={trace}")] == [1, 2]


@pytest.mark.parametrize(("call", "mode", "code"), [
    (("iot", "describe_thing", {"thingName": "there"}), "throttle", "ThrottlingException"),
    (("dynamodb", "list_tables", {}), "throttle", "ThrottlingException"),
    (("s3", "list_buckets", {}), "throttle", "SlowDown"),
    (("iot", "describe_thing", {"thingName": "there"}), "deny", "AccessDeniedException"),
    (("dynamodb", "list_tables", {}), "deny", "AccessDeniedException"),
    (("s3", "list_buckets", {}), "deny", "AccessDenied"),
    (("iot", "describe_thing", {"thingName": "there"}), "error", "InternalFailureException"),
    (("dynamodb", "list_tables", {}), "error", "InternalServerError"),
    (("s3", "list_buckets", {}), "error", "InternalError"),
])
def test_trouble_in_the_protocol_of_the_service(stack: Stack, trace: str, call: Any, mode: str, code: str) -> None:
    stack.control("POST", "faults", {"trace": trace, "at": 1, "mode": mode})
    assert stack.calls("Probe", call, trace=trace)[0]["error"] == code


def test_a_swallowed_call_pretends(stack: Stack, trace: str) -> None:
    stack.control("POST", "faults", {"trace": trace, "at": 1, "mode": "swallow"})
    assert "error" not in stack.calls("Probe", put(stack, "swallowed"), trace=trace)[0]
    assert not is_there(stack, "swallowed")


def test_a_fault_by_function_operation_and_thing(stack: Stack, trace: str) -> None:
    stack.control("POST", "faults", {"function": stack["Probe"], "operation": "dynamodb:PutItem",
                                     "thing": "struck", "mode": "throttle", "times": 2})
    results = stack.calls("Probe", put(stack, "spared"), *[put(stack, "struck")] * 3, trace=trace)
    assert [result.get("error") for result in results] == [None, "ThrottlingException", "ThrottlingException", None]


def test_a_fault_at_the_second_call_of_an_operation_in_a_trace(stack: Stack, trace: str) -> None:
    stack.control("POST", "faults", {"trace": trace, "operation": "dynamodb:PutItem", "nth": 2, "mode": "throttle"})
    absent = ("iot", "describe_thing", {"thingName": "absent"})
    results = stack.calls("Probe", put(stack, "n"), absent, put(stack, "n"), put(stack, "n"), trace=trace)
    assert ["ThrottlingException" == result.get("error") for result in results] == [False, False, True, False]


def test_a_fault_that_cannot_be_is_refused(stack: Stack) -> None:
    for wanted in ({"mode": "explode", "function": "x"}, {"mode": "error"}, {"mode": "error", "trace": "x"},
                   {"mode": "error", "function": "x", "colour": "red"}):
        with pytest.raises(AssertionError):
            stack.control("POST", "faults", wanted)
