"""What a device may say of a job's execution.

AWS IoT API Reference, `UpdateJobExecution` and `JobExecutionState`: a name of
`statusDetails` has 1 to 128 of `[a-zA-Z0-9:_-]`, a value 1 to 1,024 characters
and no control characters (`[^\\p{C}]+`). The emulator asks only for texts that
are not empty.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from ministack.services import iot

from local.iot_answers import invalid
from local.iot_routes import Response

LONGEST_VALUE = 1024

_NAME = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


def install() -> None:
    texts_only = iot._jobs_status_details_error

    def status_details_error(details: Any) -> Response | None:
        return texts_only(details) or _beyond_limits(details or {})

    iot._jobs_status_details_error = status_details_error


def _beyond_limits(details: dict[str, str]) -> Response | None:
    for name, value in details.items():
        if not _NAME.fullmatch(name):
            return invalid(f"statusDetails: {name!r} is no name")
        if len(value) > LONGEST_VALUE:
            return invalid(f"statusDetails: the value of {name} is longer than {LONGEST_VALUE} characters")
        if any(unicodedata.category(character).startswith("C") for character in value):
            return invalid(f"statusDetails: the value of {name} has control characters")
    return None
