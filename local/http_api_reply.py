"""What a caller of the HTTP API sees when a route is missing or its function fails.

AWS rules restored: "Create AWS Lambda proxy integrations for HTTP APIs in
API Gateway" and "Troubleshooting issues with HTTP API Lambda integrations": a
function's error is `500 {"message":"Internal Server Error"}` and tells the
caller nothing of it; a throttled function is `503`. "Create routes for HTTP
APIs": what no route matches is `404`, whoever asks. The emulator answers 502
with the error itself, 429, and 403.
"""

from __future__ import annotations

import json
from typing import Any

from ministack import app
from ministack.services import apigateway, lambda_svc


def _reply(status: int, message: str) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": "application/json"},
            "body": json.dumps({"message": message})}


def _to_proxy_response(result: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    if result.get("throttle"):
        return _reply(503, "Service Unavailable"), None
    if result.get("error"):
        return _reply(500, "Internal Server Error"), None
    return _emulator_to_proxy_response(result)


def _enforce_execute_api(api_id: str, stage: str, method: str, path: str, *args: Any, **kwargs: Any) -> tuple | None:
    of_http_api = apigateway.find_api_scope(api_id) is not None
    if of_http_api and apigateway.route_authorization_type(api_id, stage, method, path) is None:
        return None
    return _emulator_enforce_execute_api(api_id, stage, method, path, *args, **kwargs)


def install() -> None:
    """Take over what an API's caller is told."""
    app._enforce_execute_api = _enforce_execute_api
    lambda_svc.lambda_execute_result_to_api_proxy_response = _to_proxy_response


_emulator_to_proxy_response = lambda_svc.lambda_execute_result_to_api_proxy_response
_emulator_enforce_execute_api = app._enforce_execute_api
