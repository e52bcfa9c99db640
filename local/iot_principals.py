"""How a certificate is attached to a thing.

AWS IoT API Reference, "AttachThingPrincipal", "ListThingPrincipalsV2" and
"ListPrincipalThingsV2"; Developer Guide, "Associating an AWS IoT thing to an
MQTT client connection": a principal attached as EXCLUSIVE_THING has no other
thing, before or after; NON_EXCLUSIVE_THING is the default. The V2 lists tell
the kind of each attachment. Attaching again in the same way changes nothing;
what AWS does on a change of kind is not documented, so it is refused here, and
code has to detach first, which works either way.

The emulator ignores the kind and lacks the V2 lists.
"""

from __future__ import annotations

from typing import Any

from ministack.core.responses import json_response
from ministack.services import iot

from local import iot_routes
from local.iot_answers import invalid
from local.iot_routes import Request, Response

EXCLUSIVE = "EXCLUSIVE_THING"
NON_EXCLUSIVE = "NON_EXCLUSIVE_THING"

# The member of a thing's record that holds the kind of each attachment by principal ARN.
_KINDS = "principalTypes"


def install() -> None:
    inner = iot._handle_thing_principals

    def handle(method: str, path: str, headers: dict, body: bytes, qp: dict) -> Response:
        name = path.removeprefix("/things/").removesuffix("/principals")
        principal = headers.get("x-amzn-principal", "")
        kind = qp.get("thingPrincipalType") or NON_EXCLUSIVE
        refusal = _attach_refusal(name, principal, kind) if method == "PUT" else None
        if refusal:
            return refusal
        answer = inner(method, path, headers, body, qp)
        if answer[0] == 200 and method in ("PUT", "DELETE"):
            _record_kind(name, principal, kind if method == "PUT" else None)
        return answer

    iot._handle_thing_principals = handle
    iot_routes.control("GET", "/things/{name}/principals-v2", _list_thing_principals)
    iot_routes.control("GET", "/principals/things-v2", _list_principal_things)


def is_attached(certificate: dict[str, Any], thing_name: str) -> bool:
    return thing_name in attached_things(certificate)


def exclusive_thing(certificate: dict[str, Any]) -> str | None:
    """The one thing the certificate is attached to exclusively."""
    arn = certificate["certificateArn"] if certificate else ""
    return next((name for name in attached_things(certificate) if kind_of(name, arn) == EXCLUSIVE), None)


def attached_things(certificate: dict[str, Any]) -> list[str]:
    names = (iot._thing_name_from_arn(arn) for arn in certificate.get("attachedThings", []))
    return [name for name in names if name in iot._things]


def kind_of(thing_name: str, principal: str) -> str:
    return (iot._things[thing_name].get(_KINDS) or {}).get(principal, NON_EXCLUSIVE)


def _attach_refusal(name: str, principal: str, kind: str) -> Response | None:
    if kind not in (EXCLUSIVE, NON_EXCLUSIVE):
        return invalid(f"thingPrincipalType must be {EXCLUSIVE} or {NON_EXCLUSIVE}")
    certificate = iot._certificates.get(principal.rsplit("/", 1)[-1])
    if certificate is None or name not in iot._things:
        return None
    others = [other for other in attached_things(certificate) if other != name]
    if others and kind == EXCLUSIVE:
        return invalid(f"The principal is attached to another thing and cannot be attached to {name} exclusively")
    if any(kind_of(other, principal) == EXCLUSIVE for other in others):
        return invalid("The principal is attached to another thing exclusively")
    if is_attached(certificate, name) and kind_of(name, principal) != kind:
        return invalid(f"The principal is already attached to {name} as {kind_of(name, principal)}")
    return None


def _record_kind(name: str, principal: str, kind: str | None) -> None:
    thing = iot._things[name]
    kinds = thing.setdefault(_KINDS, {})
    if kind is None:
        kinds.pop(principal, None)
    else:
        kinds[principal] = kind
    iot._things[name] = thing


def _list_thing_principals(request: Request, name: str) -> Response:
    thing = iot._things.get(name)
    if thing is None:
        return iot._error_not_found("ListThingPrincipals", name)
    wanted = request.query.get("thingPrincipalType")
    found = [
        {"principal": principal, "thingPrincipalType": kind_of(name, principal)}
        for principal in thing.get("principals", [])
        if wanted in (None, kind_of(name, principal))
    ]
    return json_response({"thingPrincipalObjects": found})


def _list_principal_things(request: Request) -> Response:
    principal = request.headers.get("x-amzn-principal", "")
    certificate = iot._certificates.get(principal.rsplit("/", 1)[-1])
    if certificate is None:
        return iot._error_not_found("ListPrincipalThings", principal)
    wanted = request.query.get("thingPrincipalType")
    found = [
        {"thingName": name, "thingPrincipalType": kind_of(name, principal)}
        for name in attached_things(certificate)
        if wanted in (None, kind_of(name, principal))
    ]
    return json_response({"principalThingObjects": found})
