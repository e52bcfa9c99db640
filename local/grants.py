"""Which statements of a role's policies allowed what was done in its name.

Nothing of AWS is restored here: a test compares this record with the policies
themselves, so that none allows what is never needed. It is kept apart from
the list of calls, which forgets; this one has at most an entry for each
action and resource of each statement.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, NamedTuple

from ministack.core import iam_evaluator


class Grant(NamedTuple):
    """One action that a statement allowed at least once, by one of its resources."""

    role: str
    sid: str
    action: str
    # As the policy has it, wildcards and all.
    resource: str


_used: set[Grant] = set()


def used() -> list[dict[str, str]]:
    """Every grant that was used since the emulator started."""
    return [grant._asdict() for grant in sorted(_used.copy())]


def _gather_role_policies(role_name: str, account_id: str) -> list[list[Any]]:
    policies = _emulator_gather_role_policies(role_name, account_id)
    for statement in chain.from_iterable(policies):
        statement.role = role_name
    return policies


def _first_match(ctx: Any, stmts: list[Any], effect: str) -> Any:
    """Note what allows a request: a denial has been looked for before."""
    statement = _emulator_first_match(ctx, stmts, effect)
    role = getattr(statement, "role", None)
    if role is not None and effect == "Allow":
        _used.update(Grant(role, statement.sid, ctx.action, pattern) for pattern in statement.resources
                     if iam_evaluator.fnmatch_iam_cs(ctx.resource_arn, pattern))
    return statement


def install() -> None:
    """Watch where the emulator decides."""
    iam_evaluator._gather_role_policies = _gather_role_policies
    iam_evaluator._first_match = _first_match


_emulator_gather_role_policies = iam_evaluator._gather_role_policies
_emulator_first_match = iam_evaluator._first_match
