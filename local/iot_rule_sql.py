"""Functions of the rule SQL.

AWS IoT Core Developer Guide, "Functions" of the AWS IoT SQL reference:
`regexp_matches` anywhere, not only as a WHERE clause, and `accountid`,
`concat`, `lower`, `upper`, `length`, `startswith`, `endswith` and `isnull`,
which the emulator lacks. An argument that is Undefined makes the result
Undefined. The others that Lamplighter's rules use (`clientid`, `principal`,
`timestamp`, `topic`, `traceid`, `newuuid`, `isundefined`, `replace`, `encode`)
it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import iot

_OF_STRINGS: dict[str, Callable[..., Any]] = {
    "concat": lambda *texts: "".join(texts),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "length": len,
    "startswith": lambda text, start: text.startswith(start),
    "endswith": lambda text, end: text.endswith(end),
    "regexp_matches": lambda text, pattern: re.search(pattern, text) is not None,
}


def install() -> None:
    inner = iot._eval_select_function

    def evaluate(
        name: str, args: list[str], topic: str, payload: bytes, message: Any, client_id: str | None = None,
    ) -> Any:
        def value(argument: str) -> Any:
            return iot._eval_select_expr(argument, topic, payload, message, client_id)

        if name == "accountid" and not args:
            return get_account_id()
        if name == "isnull" and len(args) == 1:
            return value(args[0]) is None
        if name in _OF_STRINGS:
            return _call(_OF_STRINGS[name], [iot._sql_as_string(value(argument)) for argument in args])
        return inner(name, args, topic, payload, message, client_id)

    iot._eval_select_function = evaluate
    iot._IMPLEMENTED_SQL_FUNCS |= {"accountid", "isnull", *_OF_STRINGS}


def _call(function: Callable[..., Any], arguments: list[str | None]) -> Any:
    if not arguments or None in arguments:
        return iot._MISSING
    try:
        return function(*arguments)
    except (TypeError, re.error):
        return iot._MISSING
