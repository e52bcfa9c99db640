"""A stage's throttling is kept, and holds.

AWS rules restored: "AWS::ApiGatewayV2::Stage", property
`DefaultRouteSettings` and `RouteSettings` (the emulator stores the first under
the template's names, which the API does not know, and drops the second), and "Throttle requests to your HTTP APIs in API
Gateway": a token bucket of the burst limit, filled at the rate limit; a route that has
limits of its own has a bucket of its own; without a token the answer is
`429 {"message":"Too Many Requests"}`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ministack.services import apigateway

from local.cfn_handlers import after_create_and_update, is_true

KINDS = {
    "DetailedMetricsEnabled": is_true,
    "ThrottlingBurstLimit": int,
    "ThrottlingRateLimit": float,
    "LoggingLevel": str,
    "DataTraceEnabled": is_true,
}
TOO_MANY = 429, {"Content-Type": "application/json"}, b'{"message":"Too Many Requests"}'


@dataclass
class Bucket:
    """Tokens of one stage, or of one route of it."""

    tokens: float
    filled: float = field(default_factory=time.monotonic)

    def take(self, rate: float, burst: int) -> bool:
        """Whether there was a token."""
        now = time.monotonic()
        self.tokens = min(burst, self.tokens + (now - self.filled) * rate)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


# By API, stage and, where a route has limits of its own, its key.
_buckets: dict[tuple[str, str, str | None], Bucket] = {}


def apply_settings(stage_name: str, props: dict[str, Any]) -> None:
    """Store the route settings in the form of the API."""
    stage = apigateway._stages[props["ApiId"]][stage_name]
    stage["defaultRouteSettings"] = _as_api(props.get("DefaultRouteSettings") or {})
    stage["routeSettings"] = {key: _as_api(each) for key, each in (props.get("RouteSettings") or {}).items()}
    for key in [key for key in _buckets if key[:2] == (props["ApiId"], stage_name)]:
        del _buckets[key]


def _as_api(settings: dict[str, Any]) -> dict[str, Any]:
    return {name[0].lower() + name[1:]: KINDS[name](value) for name, value in settings.items()}


async def _handle_execute(api_id: str, stage: str, path: str, method: str, *args: Any, **kwargs: Any) -> tuple:
    found = apigateway._stages.get(api_id, {}).get(stage) or {}
    route = apigateway._match_route(api_id, method, "/" + path.lstrip("/")) or {}
    own = (found.get("routeSettings") or {}).get(route.get("routeKey"))
    settings = own or found.get("defaultRouteSettings") or {}
    rate, burst = settings.get("throttlingRateLimit"), settings.get("throttlingBurstLimit")
    bucket = (api_id, stage, route.get("routeKey") if own else None)
    if rate and burst and not _buckets.setdefault(bucket, Bucket(burst)).take(rate, burst):
        return TOO_MANY
    return await _emulator_handle_execute(api_id, stage, path, method, *args, **kwargs)


def install() -> None:
    """Apply the settings after the stage itself, and ask for a token before each request."""
    after_create_and_update("AWS::ApiGatewayV2::Stage", apply_settings)
    apigateway.handle_execute = _handle_execute


_emulator_handle_execute = apigateway.handle_execute
