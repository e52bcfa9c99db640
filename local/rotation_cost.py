"""`python -m local.rotation_cost`: what one rotation calls, and what that costs.

A light of each issuer is renewed once in a cloud of its own, and what the
functions called meanwhile is counted and priced.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from local import demo_cloud
from local.costs import PRICES, Amounts, Call, CallsOf, amounts, usd
from local.demo_lights import Light
from local.demo_renewal import PARAMETERS
from local.settings import DEFAULT_STATE_DIR, StateDir

STATE_DIR = DEFAULT_STATE_DIR / "cost"


class Meter:
    """Renews lights in a cloud, and looks at what that took."""

    def __init__(self, state: StateDir) -> None:
        self._scratch = demo_cloud.fresh_scratch(state)
        self._calls = CallsOf(json.loads(state.outputs_file.read_text()))
        self.lamp = demo_cloud.Lamp(state.outputs_file, self._scratch / "keys")

    def rotation(self, issuer: str) -> tuple[list[Call], Amounts]:
        """The calls of one, and what it took."""
        name = f"cost-{issuer}"
        if self.lamp("device", "create", name, "--issuer", issuer).exit != 0:
            raise SystemExit(f"{name} could not be created")
        file = self._scratch / f"{name}.jsonl"
        light = Light(self.lamp, file, "device", "run", "--thing", name, pace=None)
        try:
            self._settle(lambda: bool(light.said("connected")))
            self._calls.clear()
            asked = self.lamp("device", "renew", name).document
            done = self.lamp("operation", "show", asked["operationId"], "--wait")
            if done.exit != 0:
                raise SystemExit(f"{name} was not renewed: {done.documents} {done.stderr}")
            self._calls.settle()
            calls = self._calls.read()
        finally:
            light.switch_off()
        transitions = self._calls.transitions("RotateWorkflowArn", done.document["operationId"])
        return calls, amounts(calls, transitions)

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
            calls, took = meter.rotation(issuer)
            console.print(_table(issuer, took))
            named = Counter(call["operation"] for call in calls)
            console.print(f"{len(calls)} calls:", ", ".join(f"{n} {name}" for name, n in named.most_common()))
    finally:
        demo_cloud.clear(state)
    return 0


def _table(issuer: str, took: Amounts) -> Table:
    table = Table("", title=f"one rotation, {issuer}", show_footer=True)
    table.add_column("how many", justify="right")
    table.add_column("USD for 1,000 rotations", justify="right", footer=f"{usd(took) * 1000:.3f}")
    for what, much in took.items():
        table.add_row(what, f"{much:g}", f"{much * PRICES[what] * 1000:.4f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
