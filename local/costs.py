"""What functions called, counted and priced.

Not priced are what hangs on the fleet more than on a piece of work: MQTT
messages, topic rules, queues, stored logs.
"""

from __future__ import annotations

import json
import math
import time
import urllib.request
from collections import Counter
from typing import Any

from local.clients import client

# List prices in USD, us-east-1, each for one.
OPERATION = 1.25e-6
TRANSITION = 25e-6
DYNAMODB_WRITE = 0.625e-6
DYNAMODB_READ = 0.125e-6
KMS_SIGNATURE = 0.15 / 10_000
EVENT = 1.00e-6
INVOCATION = 0.20e-6
GB_SECOND = 0.0000133334
# "AWS IoT Device Management pricing", Jobs: a remote action, of the first 250,000 a month.
JOB_EXECUTION = 0.003

# What most invocations last at most once they are warm, and their memory.
INVOCATION_SECONDS = 0.1
INVOCATION_GB = 0.25

# Longer than any queue or stream of the stack keeps what it has.
QUIET_SECONDS = 5

# How much a consistent read unit reads.
READ_BYTES = 4096

# AWS prices executions, and neither these nor messages here.
FREE_OF_IOT = {"Publish", "CreateJob", "DescribeJob", "CancelJob", "DescribeJobExecution", "ListJobExecutionsForJob"}

PRICES = {
    "AWS IoT registry and shadow operations": OPERATION,
    "Step Functions transitions": TRANSITION,
    "DynamoDB write units": DYNAMODB_WRITE,
    "DynamoDB read units": DYNAMODB_READ,
    "KMS signatures": KMS_SIGNATURE,
    "EventBridge events": EVENT,
    "Lambda invocations": INVOCATION + INVOCATION_SECONDS * INVOCATION_GB * GB_SECOND,
}
OPERATIONS, TRANSITIONS, WRITES, READS, SIGNATURES, EVENTS, INVOCATIONS = PRICES

Call = dict[str, Any]
Amounts = dict[str, float]


def amounts(calls: list[Call], transitions: int) -> Amounts:
    """How much of each of `PRICES` there was; of DynamoDB an upper bound."""
    named = Counter(call["operation"] for call in calls)
    operations = sum(
        count for name, count in named.items() if name.startswith("iot:") and name.split(":")[1] not in FREE_OF_IOT
    )
    return {
        OPERATIONS: operations,
        TRANSITIONS: transitions,
        WRITES: sum(call["writes"] for call in calls),
        READS: sum(_reads(call) for call in calls),
        SIGNATURES: named["kms:Sign"],
        EVENTS: sum(call["events"] for call in calls),
        # Every invocation has a trace of its own.
        INVOCATIONS: len({(call["function"], call["trace"]) for call in calls}),
    }


def _reads(call: Call) -> float:
    pages = math.ceil(call["answered"] / READ_BYTES) if call["operation"] == "dynamodb:Query" else 1
    return call["reads"] * max(1, pages)


def usd(amounts: Amounts) -> float:
    """What they cost."""
    return sum(much * PRICES[what] for what, much in amounts.items())


class CallsOf:
    """What the functions of a running cloud have called, and the states of its workflows."""

    def __init__(self, outputs: dict[str, Any]) -> None:
        self._outputs = outputs

    def clear(self) -> None:
        """Begin to count, once what came before has settled."""
        self.settle()
        self._ask("DELETE")

    def settle(self) -> None:
        """Wait until nothing is called any more: what streams and queues bring about comes a little later."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET_SECONDS:
            if (count := len(self.read())) != seen:
                seen, since = count, time.monotonic()
            time.sleep(0.5)

    def read(self) -> list[Call]:
        """All but what looking how far something is has brought about."""
        return [call for call in self._ask("GET") if not call["function"].endswith("query-fleet")]

    def transitions(self, workflow: str, execution: str) -> int:
        """How many states an execution has entered; the workflow is named by the stack's output."""
        arn = self._outputs["stack"][workflow].replace(":stateMachine:", ":execution:")
        pages = client("stepfunctions", self._outputs["aws_endpoint"]).get_paginator("get_execution_history")
        events = [event for page in pages.paginate(executionArn=f"{arn}:{execution}") for event in page["events"]]
        return sum(event["type"].endswith("StateEntered") for event in events)

    def _ask(self, method: str) -> Any:
        address = f"{self._outputs['aws_endpoint']}/_lamplighter/calls"
        with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=60) as reply:
            return json.load(reply)
