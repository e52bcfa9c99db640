"""Execution environments: what they get, how they end, how many there are."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local.tests.deployed import Stack


def test_a_process_sees_only_its_own_settings(stack: Stack) -> None:
    seen, _ = stack.invoke("Probe", {"do": "environment"})
    assert seen["BUCKET"] == stack["Bucket"]
    assert seen["AWS_LAMBDA_FUNCTION_NAME"] == stack["Probe"]
    assert not {"AUTH", "GATEWAY_PORT", "HOME", "BIND_HOST"} & set(seen)


def test_a_warm_invocation_is_quick(stack: Stack) -> None:
    stack.invoke("Probe", {})
    client = stack.cloud.client("lambda")
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        client.invoke(FunctionName=stack["Probe"], Payload=b"{}")
        times.append(time.perf_counter() - begun)
    # Without the patch it is 0.09 at best.
    assert sorted(times)[10] < 0.060


def test_an_exit_fails_its_invocation_and_the_next_gets_a_fresh_process(stack: Stack) -> None:
    before, _ = stack.invoke("Probe", {})
    begun = time.monotonic()
    failure, error = stack.invoke("Probe", {"do": "exit"})
    assert time.monotonic() - begun < 1
    assert error == "Unhandled"
    assert failure["errorType"] == "Runtime.ExitError"
    assert failure["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    after, error = stack.invoke("Probe", {})
    assert error is None and after["pid"] != before["pid"]


def test_an_exit_leaves_other_environments_alone(stack: Stack) -> None:
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(stack.invoke, "Probe", {"do": "sleep", "seconds": 1})
        time.sleep(0.3)
        stack.invoke("Probe", {"do": "exit"})
        assert slow.result()[1] is None


def test_fifty_requests_at_once_have_a_process_each(stack: Stack) -> None:
    def ask(number: int) -> tuple[int, Any]:
        return stack.request("GET", f"/things/lamp-{number}?sleep=3")

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(ask, range(50)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["pid"] for _, answer in answers}) > 40


def test_beyond_its_reserved_concurrency_a_function_is_throttled(stack: Stack) -> None:
    client = stack.cloud.client("lambda")

    def invoke(_: int) -> str:
        try:
            client.invoke(FunctionName=stack["Reserved"], Payload=json.dumps({"do": "sleep", "seconds": 1}))
        except client.exceptions.TooManyRequestsException:
            return "throttled"
        return "served"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(invoke, range(2))) == ["served", "throttled"]


def test_a_trace_reaches_the_function(stack: Stack) -> None:
    root = "1-5759e988-bd862e3fe1be46a994272793"
    direct, _ = stack.invoke("Probe", {}, trace=root)
    assert f"Root={root}" in direct["trace"]
    _, answer = stack.request("GET", "/things/lamp-1", headers={"X-Amzn-Trace-Id": f"Root={root};Sampled=1"})
    assert f"Root={root}" in answer["trace"]


def test_without_a_trace_each_invocation_has_a_fresh_one(stack: Stack) -> None:
    traces = {stack.invoke("Probe", {})[0]["trace"] for _ in range(3)}
    assert len(traces) == 3 and all(trace.startswith("Root=1-") for trace in traces)
