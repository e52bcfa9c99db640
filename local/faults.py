"""The fault layer: sees every request before the emulator does.

It records the calls that functions make, and strikes those that a test named
over the control endpoint: the function's process is stopped before or after
the call, the reply is lost or never comes, or the service throttles, denies, fails or
pretends.
Nothing is struck unless a test asked for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

from ministack import app
from ministack.core import iam_evaluator, lambda_runtime

from local import connections, fault_replies
from local.call_log import Call, CallLog
from local.call_names import Signer, operation, signer
from local.call_units import events, read_units, write_units
from local.control import CONTROL_PREFIX, Control
from local.fault_rules import Fault, FaultRules
from local.lambda_environment import worker_of
from local.lambda_trace import inbound_trace, root_of

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

INVOKE_PATHS = ("/_aws/execute-api/", "/2015-03-31/functions/")

_checks: ContextVar[list[dict[str, str]] | None] = ContextVar("checks", default=None)


class FaultLayer:
    """An ASGI application in front of the emulator's."""

    def __init__(self, inner: App) -> None:
        self._inner = inner
        self._log = CallLog()
        self._rules = FaultRules()
        self._control = Control(self._log, self._rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        if scope["path"].startswith(CONTROL_PREFIX):
            await self._control(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"].startswith(INVOKE_PATHS):
            inbound_trace.set(headers.get("x-amzn-trace-id"))
        signed_by = signer(headers)
        worker = worker_of(signed_by.access_key) if signed_by else None
        if signed_by is None or worker is None:
            await self._inner(scope, receive, send)
            return
        await self._serve_function(scope, receive, send, headers, signed_by, worker)

    async def _serve_function(self, scope: Scope, receive: Receive, send: Send, headers: dict[str, str],
                              signed_by: Signer, worker: Any) -> None:
        """Serve a call that a function made."""
        body = await _read(receive)
        raw_path = scope["raw_path"].decode("latin-1")
        name = operation(signed_by.scope, scope["method"], raw_path, scope["query_string"].decode("latin-1"),
                         headers, body)
        trace = root_of(headers.get("x-amzn-trace-id", "")) or root_of(worker.current_trace or "")
        call = self._log.add(trace, worker.func_name, signed_by.scope, f"{signed_by.prefix}:{name}")
        call.writes, call.reads, call.events = write_units(name, body), read_units(name, body), events(name, body)
        _checks.set(call.checks)
        mentioned = f"{scope['path']}\n{body.decode('utf-8', 'replace')}"
        fault = self._rules.take(call, mentioned)
        if fault is None:
            await self._inner(scope, _replay(body, receive), _watch(send, call))
        else:
            call.fault = fault.mode
            await self._strike(fault, call, scope, _replay(body, receive), send, signed_by.scope, worker)

    async def _strike(self, fault: Fault, call: Call, scope: Scope, receive: Receive, send: Send,
                      service: str, worker: Any) -> None:
        match fault.mode:
            case "kill-before":
                _kill(worker)
                connections.reset(scope["client"])
            case "kill-after":
                await self._inner(scope, receive, _watch(_discard, call))
                _kill(worker)
                connections.reset(scope["client"])
            case "drop-reply":
                await self._inner(scope, receive, _watch(_discard, call))
                connections.reset(scope["client"])
            case "reset":
                connections.reset(scope["client"])
            case "late":
                await self._inner(scope, receive, _watch(_discard, call))
                await _given_up(receive)
            case "never":
                await _given_up(receive)
            case "throttle":
                await _reply(_watch(send, call), fault_replies.throttled(service))
            case "deny":
                await _reply(_watch(send, call), fault_replies.denied(service))
            case "error":
                await _reply(_watch(send, call), fault_replies.failed(service))
            case "swallow":
                await _reply(_watch(send, call), fault_replies.pretended(service))


async def _given_up(receive: Receive) -> None:
    """Leave the client without an answer until it goes."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _kill(worker: Any) -> None:
    process = worker._proc
    if process is not None:
        process.kill()


async def _read(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read, then what the client does next."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict[str, Any]:
        return pending.pop() if pending else await receive()

    return replay


def _watch(send: Send, call: Call) -> Send:
    """Note the status and the size on their way to the client."""

    async def watch(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
        call.answered += len(message.get("body", b""))
        await send(message)

    return watch


async def _discard(_message: dict[str, Any]) -> None:
    """Lose a reply."""


async def _reply(send: Send, reply: fault_replies.Reply) -> None:
    headers = [(name.encode(), value.encode()) for name, value in reply.headers.items()]
    headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _enforce(access_key: str, action: str, service: str, region: str, resource_arn: str = "*",
             service_context: dict[str, Any] | None = None) -> Any:
    """Note what IAM is asked while a function's call is served."""
    checks = _checks.get()
    if checks is not None:
        checks.append({"action": action, "resource": str(resource_arn)})
    return _inner_enforce(access_key, action, service, region, resource_arn=resource_arn,
                          service_context=service_context)


def _invoke(self: Any, event: Any, request_id: str, **kwargs: Any) -> dict[str, Any]:
    """Let the environment tell which trace it works for."""
    self.current_trace = kwargs.get("trace_id")
    return _inner_invoke(self, event, request_id, **kwargs)


def install() -> None:
    """Stand in front of the emulator."""
    global _inner_enforce, _inner_invoke
    connections.install()
    _inner_enforce, iam_evaluator.enforce = iam_evaluator.enforce, _enforce
    _inner_invoke, lambda_runtime.ProvidedWorker.invoke = lambda_runtime.ProvidedWorker.invoke, _invoke
    lambda_runtime.ProvidedWorker.current_trace = None
    app.app = FaultLayer(app.app)


_inner_enforce = iam_evaluator.enforce
_inner_invoke = lambda_runtime.ProvidedWorker.invoke
