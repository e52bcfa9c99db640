"""Add to what the emulator does when a stack creates or updates a resource."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.services.cloudformation import provisioners

Apply = Callable[[str, dict[str, Any]], None]


def after_create_and_update(resource_type: str, apply: Apply) -> None:
    """Run `apply(physical id, properties)` once the emulator has made or changed the resource."""
    handler = provisioners._RESOURCE_HANDLERS[resource_type]
    create, update = handler["create"], handler["update"]

    def create_and_apply(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple:
        made = create(logical_id, props, stack_name)
        apply(made[0], props)
        return made

    def update_and_apply(physical_id: str, old: dict[str, Any], new: dict[str, Any], *rest: Any) -> tuple:
        changed = update(physical_id, old, new, *rest)
        apply(changed[0], new)
        return changed

    handler["create"], handler["update"] = create_and_apply, update_and_apply


def accepted(response: tuple, what: str) -> tuple:
    """The service's own answer; a refusal fails the resource, as in AWS."""
    if response[0] >= 400:
        body = response[2]
        raise ValueError(f"{what}: {body.decode() if isinstance(body, bytes) else body}")
    return response


def answer(response: tuple, what: str) -> dict[str, Any]:
    """The JSON of an accepted answer."""
    return json.loads(accepted(response, what)[2])


def is_true(value: Any) -> bool:
    """A boolean property: parameters arrive as text."""
    return str(value).lower() == "true"
