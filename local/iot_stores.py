"""State that the patches of the IoT service keep, emptied when the emulator is reset."""

from __future__ import annotations

from typing import Any

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import iot

_STORES: list[Any] = []


def new_store() -> AccountRegionScopedDict:
    """A dictionary of the request's own account and region."""
    store = AccountRegionScopedDict()
    _STORES.append(store)
    return store


def install() -> None:
    inner = iot.reset

    def reset() -> None:
        inner()
        for store in _STORES:
            store.clear()

    iot.reset = reset
