"""A failing environment ends its own invocation and no other.

AWS rules restored: "Understanding the Lambda execution environment
lifecycle": an invocation whose runtime exits fails with `Runtime.ExitError`
(its message tells the request id and how the process ended), the next one
gets a fresh environment, and other environments go on. In the emulator an
environment that cannot start takes all others of its function with it.
"""

from __future__ import annotations

import signal
from typing import Any

from ministack.core import lambda_runtime


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = {signal.SIGKILL: "killed", signal.SIGTERM: "terminated"}.get(-code, f"signal {-code}")
        return f"signal: {name}"
    return f"exit status {code}"


def _invoke(self: Any, event: Any, request_id: str, **kwargs: Any) -> dict[str, Any]:
    process = self._proc
    try:
        result = _emulator_invoke(self, event, request_id, **kwargs)
    except Exception as failure:
        self._teardown()
        error_type = getattr(failure, "error_type", "Runtime.ExitError")
        message = f"RequestId: {request_id} Error: {failure}"
        return {"status": "error", "error": message, "log": "",
                "error_payload": {"errorMessage": message, "errorType": error_type}}
    payload = result.get("error_payload")
    if isinstance(payload, dict) and payload.get("errorType") == "Runtime.ExitError":
        ended = self.exit_code if self.exit_code is not None else getattr(process, "returncode", None)
        payload["errorMessage"] = f"RequestId: {request_id} Error: Runtime exited with error: {_how_it_ended(ended)}"
    return result


def _teardown(self: Any) -> None:
    """Keep how the process ended; the emulator forgets the process here."""
    process = self._proc
    _emulator_teardown(self)
    if process is not None:
        self.exit_code = process.returncode


def install() -> None:
    """Wrap the invocation of an environment."""
    lambda_runtime.ProvidedWorker.exit_code = None
    lambda_runtime.ProvidedWorker.invoke = _invoke
    lambda_runtime.ProvidedWorker._teardown = _teardown


_emulator_invoke = lambda_runtime.ProvidedWorker.invoke
_emulator_teardown = lambda_runtime.ProvidedWorker._teardown
