"""The calls that functions made to AWS, counted along each trace."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

# Enough for the longest test run; a cloud that stays up for days forgets the oldest.
KEPT = 200_000


@dataclass
class Call:
    """One request of a function."""

    n: int
    trace: str | None
    function: str
    service: str
    operation: str
    status: int | None = None
    fault: str | None = None
    # What AWS prices, and the bytes of the answer.
    writes: int = 0
    reads: float = 0.0
    events: int = 0
    answered: int = 0
    # What IAM was asked for it: action and resource.
    checks: list[dict[str, str]] = field(default_factory=list)


class CallLog:
    """All calls, in the order in which they came."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._counts: Counter[str | None] = Counter()
        # Tests ask for one trace at a time, again and again.
        self._traces: defaultdict[str | None, deque[Call]] = defaultdict(deque)

    def add(self, trace: str | None, function: str, service: str, operation: str) -> Call:
        """Count a call that has just come."""
        self._counts[trace] += 1
        call = Call(self._counts[trace], trace, function, service, operation)
        if len(self._calls) == KEPT:
            self._forget_oldest()
        self._calls.append(call)
        self._traces[trace].append(call)
        return call

    def clear(self) -> None:
        """Forget all calls and counts."""
        self._calls.clear()
        self._counts.clear()
        self._traces.clear()

    def listed(self, **wanted: str) -> list[dict[str, Any]]:
        """The calls whose named fields have the given values."""
        calls = self._traces.get(wanted["trace"], ()) if "trace" in wanted else self._calls
        return [vars(call) for call in calls
                if all(getattr(call, name) == value for name, value in wanted.items())]

    def _forget_oldest(self) -> None:
        oldest = self._calls.popleft()
        self._traces[oldest.trace].popleft()
        if not self._traces[oldest.trace]:
            del self._traces[oldest.trace]
