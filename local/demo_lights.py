"""Lights of the demo that run: the reference device's, each a process of `lamp`."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from local.demo_cloud import Lamp

# Lights say something this often.
PACE_SECONDS = 0.5
PATIENCE_SECONDS = 45


class Light:
    """A running `lamp`, and what its lights have said so far."""

    def __init__(self, lamp: Lamp, file: Path, *arguments: object, pace: float | None) -> None:
        self._file = file
        pacing = () if pace is None else ("--telemetry-every", pace, "--repeat-every", 2)
        self._process = lamp.start(file, *arguments, *pacing)

    def said(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.lines() if each.get("event") == event]

    def lines(self) -> list[dict[str, Any]]:
        """All that it has said, line by line."""
        lines = self._file.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def switch_off(self) -> int:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Lights:
    """All that were switched on; whatever happens, none is left running."""

    def __init__(self, lamp: Lamp, logs: Path) -> None:
        self._lamp, self._logs = lamp, logs
        self._running: list[Light] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, what: BaseException | None, where: TracebackType | None) -> None:
        for light in self._running:
            light.switch_off()

    def start(self, name: str, *arguments: object, pace: float | None = PACE_SECONDS) -> Light:
        """Run `lamp` with these arguments; the name is its log's, the pace that of its lights, if it is lights."""
        light = Light(self._lamp, self._logs / f"{name}.jsonl", *arguments, pace=pace)
        self._running.append(light)
        return light


def until(look: Callable[[], Any], wanted: Any) -> Any:
    """What was seen last: what is wanted, as soon as it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return seen
