"""Task tokens: made so that a forged one is told from one whose task is over."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets

_CHECK_BYTES = 16
# AWS's tokens are several hundred characters long, which whatever carries them must bear.
_PADDING_BYTES = 240


def new(execution_arn: str, machine_arn: str) -> str:
    """A token of a task of this execution. A child of a Map Run answers for the state machine that has the Map."""
    body = json.dumps([execution_arn, machine_arn.partition("/")[0], secrets.token_hex(_PADDING_BYTES)]).encode()
    return base64.b64encode(hashlib.sha256(body).digest()[:_CHECK_BYTES] + body).decode()


def machine_of(token: str) -> str | None:
    """The state machine whose task it is a token of; None for what never was a token."""
    try:
        raw = base64.b64decode(token, validate=True)
    except ValueError:
        return None
    check, body = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
    return json.loads(body)[1] if hashlib.sha256(body).digest()[:_CHECK_BYTES] == check else None
