"""An HTTP API gets the routes of its OpenAPI body.

AWS rule restored: "AWS::ApiGatewayV2::Api", property `Body`: the definition's
paths become routes, `x-amazon-apigateway-integration` their integrations, and
a security scheme of type `awsSigv4` makes a route AWS_IAM. The emulator drops
the body.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ministack.services import apigateway

from local.cfn_handlers import accepted, after_create_and_update, answer

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "x-amazon-apigateway-any-method"}
FUNCTION_IN_URI = re.compile(r":lambda:path/2015-03-31/functions/(.+)/invocations$")
WHAT = "AWS::ApiGatewayV2::Api Body"


def apply_body(api_id: str, props: dict[str, Any]) -> None:
    """Replace the API's routes by those of the body."""
    body = props.get("Body")
    if body is None:
        return
    if isinstance(body, str):
        body = json.loads(body)
    iam_schemes = {
        name for name, scheme in ((body.get("components") or {}).get("securitySchemes") or {}).items()
        if scheme.get("x-amazon-apigateway-authtype") == "awsSigv4"
    }
    for store in (apigateway._routes, apigateway._integrations):
        store[api_id] = {}
    for path, operations in body["paths"].items():
        for method, operation in operations.items():
            if method not in METHODS:
                continue
            accepted(apigateway._create_route(api_id, {
                "routeKey": _route_key(path, method),
                "target": f"integrations/{_integration(api_id, path, operation)}",
                "authorizationType": _authorization(path, operation, iam_schemes),
            }), WHAT)


def _integration(api_id: str, path: str, operation: dict[str, Any]) -> str:
    wanted = operation.get("x-amazon-apigateway-integration")
    if wanted is None:
        raise ValueError(f"{WHAT}: {path} has no integration")
    function = FUNCTION_IN_URI.search(wanted["uri"])
    if wanted["type"].lower() != "aws_proxy" or function is None:
        raise ValueError(f"{WHAT}: {path} is not integrated with a function")
    made = answer(apigateway._create_integration(api_id, {
        "integrationType": "AWS_PROXY",
        "integrationUri": function[1],
        "payloadFormatVersion": wanted.get("payloadFormatVersion", "2.0"),
    }), WHAT)
    return made["integrationId"]


def _route_key(path: str, method: str) -> str:
    if path == "/$default":
        return "$default"
    return f"{'ANY' if method == 'x-amazon-apigateway-any-method' else method.upper()} {path}"


def _authorization(path: str, operation: dict[str, Any], iam_schemes: set[str]) -> str:
    wanted = {name for requirement in operation.get("security") or [] for name in requirement}
    if not wanted or wanted == {"NONE"}:
        return "NONE"
    if not wanted <= iam_schemes:
        # A route that would stand open here, or closed for good, must not deploy.
        raise ValueError(f"{WHAT}: {path} names an authorizer that is not known: {sorted(wanted - iam_schemes)}")
    return "AWS_IAM"


def install() -> None:
    """Apply the body after the API itself."""
    after_create_and_update("AWS::ApiGatewayV2::Api", apply_body)
