"""Lists come in pages.

AWS IoT API Reference, the List operations: registry lists take `maxResults` (1
to 250) and `nextToken`, certificate and policy lists `pageSize` (1 to 250) and
`marker`, and certificates and policies come newest first unless
`ascendingOrder` is set. AWS does not say how long a page is without a limit; 25
here, so that code that follows no token is found out. A token names the last
item given, not a count, so that a list can be emptied while it is read.

The emulator answers these lists whole.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from re import Pattern
from typing import Any

from ministack.core.responses import json_response
from ministack.services import iot

from local.iot_answers import invalid
from local.iot_routes import Response, compile_template, single_values

DEFAULT_PAGE = 25
MAX_PAGE = 250

Key = list[Any]


@dataclass(frozen=True)
class Style:
    """The names that one family of lists gives its limit and tokens."""

    limit: str
    token: str
    next_token: str


REGISTRY = Style("maxResults", "nextToken", "nextToken")
MARKER = Style("pageSize", "marker", "nextMarker")


@dataclass(frozen=True)
class Listing:
    """One list operation: where it is, what it lists, and in which order."""

    method: str
    path: Pattern[str]
    items: str
    order: Callable[[Any], Key]
    style: Style
    newest_first: bool


def _by(*fields: str) -> Callable[[Any], Key]:
    return lambda item: [item[field] for field in fields]


def _itself(item: Any) -> Key:
    return [item]


def _latest_execution(item: dict[str, Any]) -> Key:
    summary = item["jobExecutionSummary"]
    return [-summary["queuedAt"], item["jobId"], -summary["executionNumber"]]


def _listing(
    method: str, template: str, items: str, order: Callable[[Any], Key], style: Style, *, newest_first: bool = False,
) -> Listing:
    return Listing(method, compile_template(template), items, order, style, newest_first)


LISTINGS = (
    _listing("GET", "/things", "things", _by("thingName"), REGISTRY),
    _listing("GET", "/things/{name}/principals", "principals", _itself, REGISTRY),
    _listing("GET", "/things/{name}/principals-v2", "thingPrincipalObjects", _by("principal"), REGISTRY),
    _listing("GET", "/things/{name}/thing-groups", "thingGroups", _by("groupName"), REGISTRY),
    _listing("GET", "/things/{name}/jobs", "executionSummaries", _latest_execution, REGISTRY),
    _listing("GET", "/principals/things", "things", _itself, REGISTRY),
    _listing("GET", "/principals/things-v2", "principalThingObjects", _by("thingName"), REGISTRY),
    _listing("GET", "/thing-groups", "thingGroups", _by("groupName"), REGISTRY),
    _listing("GET", "/thing-groups/{name}/things", "things", _itself, REGISTRY),
    _listing("GET", "/thing-types", "thingTypes", _by("thingTypeName"), REGISTRY),
    _listing("GET", "/billing-groups", "billingGroups", _by("groupName"), REGISTRY),
    _listing("GET", "/billing-groups/{name}/things", "things", _itself, REGISTRY),
    _listing("GET", "/jobs", "jobs", _by("jobId"), REGISTRY),
    _listing("GET", "/rules", "rules", _by("ruleName"), REGISTRY),
    _listing("GET", "/certificates", "certificates", _by("creationDate", "certificateId"), MARKER, newest_first=True),
    _listing("GET", "/policies", "policies", _by("policyName"), MARKER),
    _listing("POST", "/attached-policies/{target+}", "policies", _by("policyName"), MARKER),
    _listing("POST", "/policy-targets/{name}", "targets", _itself, MARKER),
    _listing("GET", "/principal-policies", "policies", _by("policyName"), MARKER),
    _listing("GET", "/policy-principals", "principals", _itself, MARKER),
)


def install() -> None:
    inner = iot._route_request

    async def route(method: str, path: str, headers: dict, body: bytes, query_params: dict) -> Response:
        found = next((one for one in LISTINGS if one.method == method and one.path.fullmatch(path)), None)
        query = single_values(query_params)
        refusal = _refusal(found, query) if found else None
        if refusal:
            return refusal
        answer = await inner(method, path, headers, body, query_params)
        return _page(found, query, json.loads(answer[2])) if found and answer[0] == 200 else answer

    iot._route_request = route


def page(
    items: list[Any], order: Callable[[Any], Key], limit: int, token: str | None, *, reverse: bool = False,
) -> tuple[list[Any], str | None]:
    """The items after the one that `token` names, at most `limit`, and the token of the next page."""
    ordered = sorted(items, key=order, reverse=reverse)
    if token:
        last = _decode(token)
        ordered = [item for item in ordered if (order(item) < last if reverse else order(item) > last)]
    shown = ordered[:limit]
    return shown, _encode(order(shown[-1])) if len(ordered) > limit else None


def limit_refusal(value: str | None, name: str, at_most: int) -> Response | None:
    if value is None or (value.isdigit() and 1 <= int(value) <= at_most):
        return None
    return invalid(f"{name} must be between 1 and {at_most}")


def token_refusal(token: str | None) -> Response | None:
    if not token:
        return None
    try:
        return None if isinstance(_decode(token), list) else invalid("Next token is invalid.")
    except ValueError:
        return invalid("Next token is invalid.")


def _refusal(listing: Listing, query: dict[str, str]) -> Response | None:
    style = listing.style
    return limit_refusal(query.get(style.limit), style.limit, MAX_PAGE) or token_refusal(query.get(style.token))


def _page(listing: Listing, query: dict[str, str], answer: dict[str, Any]) -> Response:
    style = listing.style
    ascending = iot._qp_bool(query, "isAscendingOrder")
    shown, next_token = page(
        answer[listing.items],
        listing.order,
        int(query.get(style.limit) or DEFAULT_PAGE),
        query.get(style.token),
        reverse=listing.newest_first and not ascending,
    )
    return json_response({**answer, listing.items: shown, **({style.next_token: next_token} if next_token else {})})


def _encode(key: Key) -> str:
    return base64.b64encode(json.dumps(key).encode()).decode()


def _decode(token: str) -> Key:
    return json.loads(base64.b64decode(token, validate=True))
