"""The calls that functions made to AWS, counted along each trace."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
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
    # What IAM was asked for it: action and resource.
    checks: list[dict[str, str]] = field(default_factory=list)


class CallLog:
    """All calls, in the order in which they came."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._counts: Counter[str | None] = Counter()

    def add(self, trace: str | None, function: str, service: str, operation: str) -> Call:
        """Count a call that has just come."""
        self._counts[trace] += 1
        call = Call(self._counts[trace], trace, function, service, operation)
        self._calls.append(call)
        return call

    def clear(self) -> None:
        """Forget all calls and counts."""
        self._calls.clear()
        self._counts.clear()

    def listed(self, **wanted: str) -> list[dict[str, Any]]:
        """The calls whose named fields have the given values."""
        return [asdict(call) for call in self._calls
                if all(getattr(call, name) == value for name, value in wanted.items())]
