"""Warm invocations take about a millisecond of platform time.

AWS rule restored: "Understanding the Lambda execution environment lifecycle":
a reused environment answers at once. In the emulator every Runtime API
exchange waits 40 ms for a delayed acknowledgement, and every invocation
another 50 ms in case the function still has something to log.
"""

from __future__ import annotations

import socketserver

from ministack.core import lambda_runtime

# Seconds: for a first line of output, between lines, and at most.
LOG_WAITS = (0.002, 0.002, 0.250)


def install() -> None:
    """Send small packets at once, and wait only briefly for output."""
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    # Its pooled kinds inherit the method.
    lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = LOG_WAITS
