"""Which call a fault strikes, and how often."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal, get_args

from local.call_log import Call

Mode = Literal[
    "kill-before", "kill-after", "drop-reply", "throttle", "deny", "error", "reset", "late", "never", "swallow",
]


class BadFault(ValueError):
    """A fault that cannot be set, and why."""


@dataclass
class Fault:
    """Strikes the n-th call of a trace, or calls of a function to an operation."""

    id: int
    mode: Mode
    trace: str | None = None
    at: int | None = None
    function: str | None = None
    operation: str | None = None
    thing: str | None = None
    # Which of the calls that fit is the first to be struck. Calls made at once
    # come in any order, so "the second UpdateItem" is surer than "the ninth call".
    nth: int = 1
    times: int = 1
    met: int = 0
    fired: int = 0

    def strikes(self, call: Call, mentioned: str) -> bool:
        """Whether this call is meant; `mentioned` is the text of its path and body."""
        if not self._fits(call, mentioned):
            return False
        self.met += 1
        return self.met >= self.nth and self.fired < self.times

    def _fits(self, call: Call, mentioned: str) -> bool:
        return (
            self.trace in (None, call.trace)
            and self.at in (None, call.n)
            and self.function in (None, call.function)
            and self.operation in (None, call.operation)
            and (self.thing is None or self.thing in mentioned)
        )


class FaultRules:
    """All faults that were set, spent ones included."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._made = 0
        # Tests set thousands, each for a trace of its own. Those of no trace are under None.
        self._unspent: defaultdict[str | None, list[Fault]] = defaultdict(list)

    def add(self, wanted: dict[str, Any]) -> Fault:
        """Set a fault as the control endpoint describes it."""
        known = set(Fault.__dataclass_fields__) - {"id", "met", "fired"}
        if unknown := set(wanted) - known:
            raise BadFault(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
        if wanted.get("mode") not in get_args(Mode):
            raise BadFault(f"mode is one of {', '.join(get_args(Mode))}")
        if "at" in wanted and "trace" not in wanted:
            raise BadFault("at counts the calls of a trace: name one")
        if "trace" in wanted and not {"at", "operation"} & set(wanted):
            raise BadFault("a trace needs at or an operation")
        if not {"trace", "function", "operation"} & set(wanted):
            raise BadFault("name a trace, a function or an operation")
        self._made += 1
        fault = Fault(id=self._made, **wanted)
        self._faults[fault.id] = fault
        self._unspent[fault.trace].append(fault)
        return fault

    def take(self, call: Call, mentioned: str) -> Fault | None:
        """The first fault that strikes this call; it is one nearer to being spent."""
        may_fit = [*self._unspent.get(None, ()), *(self._unspent.get(call.trace, ()) if call.trace else ())]
        for fault in sorted(may_fit, key=lambda each: each.id):
            if fault.strikes(call, mentioned):
                fault.fired += 1
                if fault.fired == fault.times:
                    self._unspent[fault.trace].remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Strike no more."""
        self._faults.clear()
        self._unspent.clear()

    def listed(self, only: str | None = None) -> list[dict[str, Any]]:
        """Every fault or one of them, with how often it fired."""
        return [vars(fault) for fault in self._faults.values() if only in (None, str(fault.id))]
