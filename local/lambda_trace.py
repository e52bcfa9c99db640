"""A caller's trace reaches the function.

AWS rule restored: "Tracing requests with X-Ray" (Lambda and API Gateway): the
trace header of an API request or of an Invoke becomes the
`Lambda-Runtime-Trace-Id` of the invocation, and each one without gets a fresh
root. The emulator drops the header, and makes a root only where tracing is
active. What another service starts (a stream, a rule, a workflow) gets a
fresh root, too.
"""

from __future__ import annotations

import secrets
import time
from contextvars import ContextVar
from typing import Any

from ministack.services import lambda_svc

# Set while a request that may carry a trace to a function is being served.
inbound_trace: ContextVar[str | None] = ContextVar("inbound_trace", default=None)


def fresh_trace() -> str:
    """A new root in X-Ray's format."""
    return f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)};Parent={secrets.token_hex(8)};Sampled=0"


def root_of(trace_header: str) -> str | None:
    """The root of a trace header."""
    for part in trace_header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == "Root" and value:
            return value
    return None


def _trace_of_invocation(config: dict[str, Any], inbound_trace_header: str | None = None) -> str:
    return inbound_trace_header or inbound_trace.get() or fresh_trace()


def install() -> None:
    """Answer the emulator's question for a trace from the request at hand."""
    lambda_svc._xray_trace_id_for_invocation = _trace_of_invocation
