"""The named shadows of a thing.

AWS IoT API Reference, "ListNamedShadowsForThing": the names of the shadows that
exist, without the classic one, in pages of `pageSize` (1 to 100). The emulator
lacks the operation.
"""

from __future__ import annotations

import time

from ministack.core.responses import json_response
from ministack.services import iot

from local import iot_routes
from local.iot_paging import DEFAULT_PAGE, limit_refusal, page, token_refusal
from local.iot_routes import Request, Response

MAX_PAGE = 100


def install() -> None:
    iot_routes.data("GET", "/api/things/shadow/ListNamedShadowsForThing/{thing}", _list_named_shadows)


def _list_named_shadows(request: Request, thing: str) -> Response:
    size, token = request.query.get("pageSize"), request.query.get("nextToken")
    refusal = limit_refusal(size, "pageSize", MAX_PAGE) or token_refusal(token)
    if refusal:
        return refusal
    names = [
        name for (owner, name), shadow in iot._shadows.items() if owner == thing and name and not shadow.get("deleted")
    ]
    shown, next_token = page(names, lambda name: [name], int(size or DEFAULT_PAGE), token)
    return json_response({
        "results": shown, "timestamp": int(time.time()), **({"nextToken": next_token} if next_token else {}),
    })
