"""`python -m local.rotation_cost`: what one rotation calls, and what that costs.

A light of each issuer is renewed once in a cloud of its own, and what the
functions called meanwhile is counted and priced. Not priced are what hangs on
the fleet more than on the rotation: MQTT messages, rules, stored logs.
"""

from __future__ import annotations

import json
import math
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local import demo_cloud
from local.clients import client
from local.demo_renewal import PARAMETERS, Light
from local.settings import DEFAULT_STATE_DIR, StateDir

STATE_DIR = DEFAULT_STATE_DIR / "cost"

# List prices in USD, us-east-1, each for one.
REGISTRY_OPERATION = 1.25e-6
TRANSITION = 25e-6
DYNAMODB_WRITE = 0.625e-6
DYNAMODB_READ = 0.125e-6
KMS_SIGNATURE = 0.15 / 10_000
EVENT = 1.00e-6
INVOCATION = 0.20e-6
GB_SECOND = 0.0000133334

# Longer than any invocation of a rotation is expected to last once it is warm.
INVOCATION_SECONDS = 0.1
INVOCATION_GB = 0.25


def price(calls: list[dict[str, Any]], transitions: int, row_bytes: int) -> dict[str, tuple[int, float]]:
    """How much of each there was, and its price in USD; an upper bound where sizes differ."""
    named = Counter(call["operation"] for call in calls)
    registry = sum(
        count for name, count in named.items() if name.startswith("iot:") and name not in ("iot:Publish",)
    )
    # A transaction writes each item twice, by the kilobyte; the longest row stands for all.
    items = sum(len(call["checks"]) for call in calls if call["operation"] == "dynamodb:TransactWriteItems")
    writes = 2 * items * math.ceil(row_bytes / 1024)
    # A read that is consistent counts once by 4 kB.
    reads = named["dynamodb:GetItem"] + named["dynamodb:Query"]
    invocations = len({(call["function"], call["trace"]) for call in calls})
    return {
        "AWS IoT registry operations": (registry, registry * REGISTRY_OPERATION),
        "Step Functions transitions": (transitions, transitions * TRANSITION),
        "DynamoDB write units": (writes, writes * DYNAMODB_WRITE),
        "DynamoDB read units": (reads, reads * DYNAMODB_READ),
        "KMS signatures": (named["kms:Sign"], named["kms:Sign"] * KMS_SIGNATURE),
        "EventBridge events": (named["events:PutEvents"], named["events:PutEvents"] * EVENT),
        "Lambda invocations": (
            invocations, invocations * (INVOCATION + INVOCATION_SECONDS * INVOCATION_GB * GB_SECOND),
        ),
    }


class Meter:
    """Renews lights in a cloud, and looks at what that took."""

    def __init__(self, state: StateDir) -> None:
        self._outputs = json.loads(state.outputs_file.read_text())
        self._scratch = demo_cloud.fresh_scratch(state)
        self.lamp = demo_cloud.Lamp(state.outputs_file, self._scratch / "keys")

    def rotation(self, issuer: str) -> tuple[list[dict[str, Any]], int, int]:
        """The calls, the transitions, and the size of the rotation's row in bytes."""
        name = f"cost-{issuer}"
        if self.lamp("device", "create", name, "--issuer", issuer).exit != 0:
            raise SystemExit(f"{name} could not be created")
        file = self._scratch / f"{name}.jsonl"
        light = Light(self.lamp, file, "device", "run", "--thing", name)
        try:
            self._settle(lambda: bool(light.said("connected")))
            self._calls("DELETE")
            asked = self.lamp("device", "renew", name).document
            done = self.lamp("operation", "show", asked["operationId"], "--wait")
            if done.exit != 0:
                raise SystemExit(f"{name} was not renewed: {done.documents} {done.stderr}")
            # What the registry's stream brings about comes a little later.
            time.sleep(3)
            # How often somebody looks how far it is, is not the rotation's.
            calls = [call for call in self._calls("GET") if not call["function"].endswith("query-fleet")]
        finally:
            light.switch_off()
        return calls, self._transitions(done.document["operationId"]), self._row_bytes(name)

    def _calls(self, method: str) -> Any:
        address = f"{self._outputs['aws_endpoint']}/_lamplighter/calls"
        with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=30) as reply:
            return json.load(reply)

    def _transitions(self, execution: str) -> int:
        workflow = self._outputs["stack"]["RotateWorkflowArn"].replace(":stateMachine:", ":execution:")
        pages = client("stepfunctions", self._outputs["aws_endpoint"]).get_paginator("get_execution_history")
        events = [e for page in pages.paginate(executionArn=f"{workflow}:{execution}") for e in page["events"]]
        return sum(event["type"].endswith("StateEntered") for event in events)

    def _row_bytes(self, name: str) -> int:
        key = {"PK": {"S": f"DEVICE#{name}"}, "SK": {"S": "ROTATION"}}
        table = self._outputs["stack"]["TableName"]
        row = client("dynamodb", self._outputs["aws_endpoint"]).get_item(TableName=table, Key=key)["Item"]
        return len(json.dumps(row))

    @staticmethod
    def _settle(ready: Any) -> None:
        deadline = time.monotonic() + 30
        while not ready() and time.monotonic() < deadline:
            time.sleep(0.2)


def main() -> int:
    """Print a table for each issuer; 0 is that both were renewed."""
    console, state = Console(highlight=False), StateDir(Path(STATE_DIR))
    demo_cloud.clear(state)
    try:
        if demo_cloud.cloud(state, "up", PARAMETERS) != 0:
            return 1
        meter = Meter(state)
        meter.lamp("ca", "init")
        for issuer in ("aws-iot", "kms-ca"):
            calls, transitions, row_bytes = meter.rotation(issuer)
            console.print(_table(issuer, price(calls, transitions, row_bytes)))
            named = Counter(call["operation"] for call in calls)
            console.print(f"{len(calls)} calls:", ", ".join(f"{n} {name}" for name, n in named.most_common()))
    finally:
        demo_cloud.clear(state)
    return 0


def _table(issuer: str, priced: dict[str, tuple[int, float]]) -> Table:
    total = sum(cost for _, cost in priced.values()) * 1000
    table = Table("", title=f"one rotation, {issuer}", show_footer=True)
    table.add_column("how many", justify="right")
    table.add_column("USD for 1,000 rotations", justify="right", footer=f"{total:.3f}")
    for name, (count, cost) in priced.items():
        table.add_row(name, str(count), f"{cost * 1000:.4f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
