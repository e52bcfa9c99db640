"""Errors that no Retry and no Catch takes.

AWS Step Functions Developer Guide, "Handling errors in Step Functions
workflows": `States.ALL` catches neither `States.Runtime` nor
`States.DataLimitExceeded`. In the emulator it catches everything.
"""

from __future__ import annotations

from ministack.services import stepfunctions

TERMINAL = ("States.Runtime", "States.DataLimitExceeded")


def _error_matches(error_equals: list[str], error: str) -> bool:
    if error in TERMINAL:
        error_equals = [name for name in error_equals if name == error]
    return _emulator_error_matches(error_equals, error)


def install() -> None:
    """Take the terminal errors out of the wildcards."""
    stepfunctions._error_matches = _error_matches


_emulator_error_matches = stepfunctions._error_matches
