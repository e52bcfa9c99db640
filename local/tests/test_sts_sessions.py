"""Sessions that begin at the same moment are all there."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ministack.services import sts

from local import sts_sessions

THREADS = 8
SESSIONS = 300


@pytest.fixture
def hasty_threads() -> Any:
    """Threads take turns far more often than usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_environments_start_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sts, "_sessions", {})
    monkeypatch.setattr(sts, "register_session", sts.register_session)
    sts_sessions.install()

    def begin(thread: int) -> None:
        for number in range(SESSIONS):
            sts.register_session(f"ASIA-{thread}-{number}", {})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(begin, range(THREADS)))
    assert len(sts._sessions) == THREADS * SESSIONS
