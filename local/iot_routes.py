"""Operations of the IoT control and data planes that the emulator has no route for.

A patch module registers a handler under an HTTP method and a path template of
the AWS IoT API Reference; what no template matches goes on to the emulator.
Authorisation happens before dispatch, in the emulator itself, by the operation
that the SDK's own model names for the same method and path, so a route added
here is authorised like any other.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ministack.services import iot, iot_data

Response = tuple[int, dict[str, str], bytes]
Dispatcher = Callable[[str, str, dict, bytes, dict], Awaitable[Response]]


@dataclass(frozen=True)
class Request:
    """One request, with the query's and the body's fields ready to read."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]


Handler = Callable[..., Response | Awaitable[Response]]


@dataclass(frozen=True)
class _Route:
    method: str
    path: re.Pattern[str]
    handler: Handler


_CONTROL: list[_Route] = []
_DATA: list[_Route] = []


def control(method: str, template: str, handler: Handler) -> None:
    """Add an operation to the control plane (`iot`)."""
    _CONTROL.append(_Route(method, compile_template(template), handler))


def data(method: str, template: str, handler: Handler) -> None:
    """Add an operation to the data plane (`iot-data`)."""
    _DATA.append(_Route(method, compile_template(template), handler))


def compile_template(template: str) -> re.Pattern[str]:
    """`{name}` is one path segment, `{name+}` the rest of the path, slashes included."""
    pattern = re.sub(r"\{(\w+)\+\}", r"(?P<\1>.+)", template)
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern))


def single_values(query_params: Mapping[str, Any]) -> dict[str, str]:
    """The query string with the first value of each parameter."""
    return {k: (v[0] if isinstance(v, list) else v) for k, v in query_params.items()}


def install() -> None:
    _extend(iot, "_route_request", _CONTROL)
    _extend(iot_data, "handle_request", _DATA)


def _extend(module: ModuleType, name: str, routes: list[_Route]) -> None:
    inner: Dispatcher = getattr(module, name)

    async def dispatch(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Response:
        for route in routes:
            found = route.path.fullmatch(path) if route.method == method else None
            if found:
                request = Request(method, path, headers or {}, single_values(query_params), iot._parse_body(body))
                answer = route.handler(request, **found.groupdict())
                return await answer if inspect.isawaitable(answer) else answer
        return await inner(method, path, headers, body, query_params)

    setattr(module, name, dispatch)
