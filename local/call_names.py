"""Which operation of which service a request asks for.

Service and operation names are those of the SDK's own service models, so
that a REST path is named by the same table that made it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qs

import botocore.session
from botocore.model import OperationModel

# What a signature's credential scope says, where the model is named otherwise.
MODEL_OF_SCOPE = {
    "iotdata": "iot-data",
    "states": "stepfunctions",
    "IoTSecuredTunneling": "iotsecuretunneling",
    "monitoring": "cloudwatch",
}
# The prefix of the actions in policies, where it is not the credential scope.
PREFIX_OF_SCOPE = {"iotdata": "iot", "IoTSecuredTunneling": "iot", "monitoring": "cloudwatch"}
CREDENTIAL = re.compile(r"Credential=([^/]+)/\d{8}/[^/]*/([^/]+)/aws4_request")
LABEL = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True)
class Signer:
    """Who signed a request, and for which service."""

    access_key: str
    scope: str

    @property
    def prefix(self) -> str:
        """The service's prefix in policies: `iot` in `iot:CreateThing`."""
        return PREFIX_OF_SCOPE.get(self.scope, self.scope)


@dataclass(frozen=True)
class Route:
    """One operation of a REST service."""

    operation: str
    method: str
    path: re.Pattern[str]
    # What a request must bring besides, where two operations share a path.
    query: frozenset[str]
    headers: frozenset[str]
    literals: int

    def fits(self, method: str, raw_path: str, query: set[str], headers: set[str]) -> bool:
        """Whether a request can be one for this operation."""
        return (method == self.method and self.path.match(raw_path) is not None
                and self.query <= query and self.headers <= headers)


def signer(headers: dict[str, str]) -> Signer | None:
    """Who signed, from the request's Authorization header."""
    match = CREDENTIAL.search(headers.get("authorization", ""))
    return Signer(match[1], match[2]) if match else None


def operation(scope: str, method: str, raw_path: str, query: str, headers: dict[str, str], body: bytes) -> str:
    """The operation's name, or the method and path of a request that no model knows."""
    if target := headers.get("x-amz-target"):
        return target.rsplit(".", 1)[-1]
    given = parse_qs(query, keep_blank_values=True)
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        given = {**given, **parse_qs(body.decode("utf-8", "replace"))}
    for name in ("Action", "x-id"):
        if name in given:
            return given[name][0]
    fitting = [
        route for route in _routes(MODEL_OF_SCOPE.get(scope, scope))
        if route.fits(method, raw_path, set(given), set(headers))
    ]
    if not fitting:
        return f"{method} {raw_path}"
    return max(fitting, key=lambda route: (len(route.query | route.headers), route.literals)).operation


@cache
def _routes(model_name: str) -> tuple[Route, ...]:
    session = botocore.session.get_session()
    if model_name not in session.get_available_services():
        return ()
    model = session.get_service_model(model_name)
    return tuple(_route(model.operation_model(name)) for name in model.operation_names)


def _route(model: OperationModel) -> Route:
    path, _, query = model.http["requestUri"].partition("?")
    pattern, end, literals = "", 0, 0
    for label in LABEL.finditer(path):
        literal = path[end:label.start()]
        literals += len(literal)
        pattern += re.escape(literal) + (".+" if label[2] else "[^/]+")
        end = label.end()
    literals += len(path[end:])
    pattern += re.escape(path[end:].rstrip("/"))
    demanded = {part.split("=")[0] for part in query.split("&") if part} | _required(model, "querystring")
    return Route(model.name, model.http["method"], re.compile(f"^{pattern}/?$"), frozenset(demanded),
                 frozenset(header.lower() for header in _required(model, "header")), literals)


def _required(model: OperationModel, location: str) -> set[str]:
    """The required members of the operation's input that travel there."""
    shape = model.input_shape
    if shape is None:
        return set()
    members = (shape.members[name].serialization for name in shape.required_members)
    return {member["name"] for member in members if member.get("location") == location}
