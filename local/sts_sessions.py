"""Sessions begin at the same moment.

The emulator looks over all sessions when it adds one, and breaks off where
another thread adds one meanwhile: of environments of a function that started
together, some could not, and their invocations failed.
"""

from __future__ import annotations

import threading
from typing import Any

from ministack.services import sts

_one_at_a_time = threading.Lock()


def _register(access_key: str, session: dict[str, Any]) -> None:
    with _one_at_a_time:
        _emulator_register(access_key, session)


def install() -> None:
    """Take over how a session is added."""
    sts.register_session = _register


_emulator_register = sts.register_session
