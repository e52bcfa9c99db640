"""What the demo tells: steps, and in each the claims that were checked.

A claim is printed only with what it was checked against, so the demo cannot say
more than it saw. The same, as JSON, is the report.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape


class Stopped(Exception):
    """The demo cannot go on; what follows builds on what failed."""


@dataclass
class Check:
    claim: str
    ok: bool
    expected: Any
    found: Any


@dataclass
class Step:
    title: str
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)


class Report:
    """Prints as it goes, and remembers."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []
        self._began = time.monotonic()
        self._started_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    @contextmanager
    def step(self, title: str, story: str) -> Iterator[Step]:
        """One step. Whatever breaks it off becomes a failed check of it."""
        step = Step(title)
        self.steps.append(step)
        self.console.print()
        self.console.rule(f"[bold]{len(self.steps)}. {escape(title)}", align="left", style="cyan")
        self.console.print(f"[dim]{escape(story)}")
        began = time.monotonic()
        try:
            yield step
        except Stopped:
            raise
        except Exception as error:
            self.check("the step runs to its end", f"{type(error).__name__}: {error}", "no error")
            raise Stopped(title) from error
        finally:
            step.seconds = round(time.monotonic() - began, 3)

    def check(self, claim: str, found: Any, expected: Any = True) -> bool:
        """Whether what was found is what the claim says; printed either way."""
        ok = found == expected
        self.steps[-1].checks.append(Check(claim, ok, expected, found))
        if ok:
            self.console.print(f"[green]  ✓[/] {escape(claim)}")
        else:
            self.console.print(f"[bold red]  ✗ {escape(claim)}")
            self.console.print(f"      expected: {escape(_short(expected))}")
            self.console.print(f"      found:    {escape(_short(found))}")
        return ok

    def need(self, claim: str, found: Any, expected: Any = True) -> None:
        """A check that the rest of the demo builds on."""
        if not self.check(claim, found, expected):
            raise Stopped(claim)

    def count(self, name: str, value: Any) -> None:
        """A number worth keeping."""
        self.steps[-1].counts[name] = value

    def say(self, text: str) -> None:
        self.console.print(f"[dim]    {escape(text)}")

    def show(self, what: RenderableType) -> None:
        self.console.print(what)

    @property
    def failed(self) -> list[Check]:
        return [check for step in self.steps for check in step.checks if not check.ok]

    @property
    def held(self) -> int:
        return sum(check.ok for step in self.steps for check in step.checks)

    def document(self) -> dict[str, Any]:
        return {
            "ok": not self.failed and self.held > 0,
            "startedAt": self._started_at,
            "seconds": round(time.monotonic() - self._began, 3),
            "checks": {"held": self.held, "failed": len(self.failed)},
            "steps": [asdict(step) for step in self.steps],
        }

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "report.json"
        path.write_text(json.dumps(self.document(), indent=2, default=str, ensure_ascii=False) + "\n")
        return path


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 600 else f"{text[:600]}…"
