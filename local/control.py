"""The control endpoint, for callers on this machine only.

- `GET /_lamplighter/calls?trace=&function=&operation=`: the recorded calls
- `DELETE /_lamplighter/calls`
- `POST /_lamplighter/faults` `{mode, trace, at}`, or `{mode, trace?, function?, operation?, thing?, nth?, times?}`
- `GET /_lamplighter/faults?id=`: each with how often it fired
- `DELETE /_lamplighter/faults`
- `GET /_lamplighter/grants`: what roles' policies were needed for since the start
- `GET /_lamplighter/environments`: the processes of the functions

Patches add what their subjects need; see where `extend` is called.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from ministack.core import lambda_runtime

from local import grants
from local.call_log import CallLog
from local.fault_rules import BadFault, FaultRules

CONTROL_PREFIX = "/_lamplighter/"
CALL_FILTERS = ("trace", "function", "operation")


Handler = Callable[[Any], tuple[int, Any]]
_added: dict[tuple[str, str], Handler] = {}


def extend(method: str, path: str, handler: Handler) -> None:
    """Add a path; the handler is given the body's JSON, and gives a status and JSON."""
    _added[method, path] = handler


class Control:
    """Answers the control endpoint."""

    def __init__(self, log: CallLog, rules: FaultRules) -> None:
        self._log = log
        self._rules = rules

    async def __call__(self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]],
                       send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """Serve one request."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, answer = self._answer(scope, body)
        payload = json.dumps(answer).encode()
        await send({"type": "http.response.start", "status": status, "headers": [
            (b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]})
        await send({"type": "http.response.body", "body": payload})

    def _answer(self, scope: dict[str, Any], body: bytes) -> tuple[int, Any]:
        client = scope.get("client")
        if client is None or not ipaddress.ip_address(client[0]).is_loopback:
            return 403, {"message": "only for callers on this machine"}
        match scope["method"], scope["path"].removeprefix(CONTROL_PREFIX):
            case "GET", "calls":
                asked = dict(parse_qsl(scope["query_string"].decode()))
                if unknown := set(asked) - set(CALL_FILTERS):
                    return 400, {"message": f"unknown: {', '.join(sorted(unknown))}"}
                return 200, self._log.listed(**asked)
            case "DELETE", "calls":
                self._log.clear()
                return 200, {}
            case "GET", "faults":
                asked = dict(parse_qsl(scope["query_string"].decode()))
                return 200, self._rules.listed(asked.get("id"))
            case "POST", "faults":
                try:
                    return 200, {"id": self._rules.add(json.loads(body)).id}
                except (BadFault, ValueError, TypeError) as refusal:
                    return 400, {"message": str(refusal)}
            case "DELETE", "faults":
                self._rules.clear()
                return 200, {}
            case "GET", "grants":
                return 200, grants.used()
            case "GET", "environments":
                return 200, _environments()
            case added if added in _added:
                try:
                    return _added[added](json.loads(body or b"{}"))
                except ValueError as fault:
                    return 400, {"message": str(fault)}
            case _:
                return 404, {"message": "see local/control.py"}


def _environments() -> list[dict[str, Any]]:
    with lambda_runtime._lock:
        workers = [worker for pool in lambda_runtime._workers.values() for worker in pool]
    return [
        {"function": worker.func_name, "pid": worker._proc.pid, "busy": worker.in_use, "trace": worker.current_trace}
        for worker in workers if worker._proc is not None
    ]
