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

    def __init__(self, lamp: Lamp, file: Path, *arguments: object) -> None:
        self._file = file
        self._process = lamp.start(file, *arguments, "--telemetry-every", PACE_SECONDS, "--repeat-every", 2)

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = self._file.read_text().splitlines(keepends=True)
        documents = [json.loads(line) for line in lines if line.endswith("\n")]
        return [each for each in documents if each.get("event") == event]

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

    def start(self, name: str, *arguments: object) -> Light:
        """Run `lamp` with these arguments; the name is its log's."""
        light = Light(self._lamp, self._logs / f"{name}.jsonl", *arguments)
        self._running.append(light)
        return light


def until(look: Callable[[], Any], wanted: Any) -> Any:
    """What was seen last: what is wanted, as soon as it is."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (seen := look()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return seen
