"""HTTP APIs: routes, signatures, permissions, failures."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from local.deploy import Deployment, deploy
from local.deploy_check import check
from local.settings import StateDir
from local.tests.conftest import Cloud
from local.tests.deployed import Stack, send


def test_routes_of_the_body_are_there_and_ask_for_iam(stack: Stack) -> None:
    routes = stack.cloud.client("apigatewayv2").get_routes(ApiId=stack["Api"])["Items"]
    assert {(route["RouteKey"], route["AuthorizationType"]) for route in routes} == {
        ("GET /things/{thingName}", "AWS_IAM"), ("POST /things", "AWS_IAM")}


def test_an_allowed_caller_is_served_and_named_to_the_function(stack: Stack) -> None:
    status, answer = stack.request("GET", "/things/lamp-1")
    assert status == 200, answer
    assert answer["path"] == {"thingName": "lamp-1"}
    assert answer["context"]["authorizer"]["iam"]["userArn"].endswith(":assumed-role/lamplighter-caller/local")


def test_an_unsigned_request_is_forbidden(stack: Stack) -> None:
    assert stack.request("GET", "/things/lamp-1", signed=False) == (403, {"message": "Forbidden"})


def test_a_wrong_signature_is_forbidden(stack: Stack) -> None:
    status, _ = stack.as_caller(secret_access_key="x" * 40).request("GET", "/things/lamp-1")
    assert status == 403


def test_a_caller_whose_policy_does_not_name_the_route_is_forbidden(stack: Stack) -> None:
    assert stack.request("POST", "/things", body={})[0] == 403


def test_a_path_without_a_route_is_not_found(stack: Stack) -> None:
    assert stack.request("GET", "/nothing")[0] == 404


def test_a_failing_function_is_an_internal_server_error_that_tells_nothing(stack: Stack) -> None:
    root = stack.as_root()
    for what in ("raise", "exit"):
        assert root.request("POST", "/things", body={"do": what}) == (500, {"message": "Internal Server Error"})


def test_a_function_that_permits_no_api_is_not_invoked(stack: Stack) -> None:
    api = stack.cloud.client("apigatewayv2")
    made = api.create_api(Name="unpermitted", ProtocolType="HTTP", Target=stack["Unpermitted"])["ApiId"]
    integration = api.create_integration(
        ApiId=made, IntegrationType="AWS_PROXY", IntegrationUri=stack["Unpermitted"], PayloadFormatVersion="2.0")
    api.create_route(ApiId=made, RouteKey="GET /open", Target=f"integrations/{integration['IntegrationId']}")
    api.create_stage(ApiId=made, StageName="$default", AutoDeploy=True)
    other = stack.as_caller(api_url=f"{stack.cloud.endpoint}/_aws/execute-api/{made}")
    assert other.request("GET", "/open", signed=False) == (500, {"message": "Internal Server Error"})


def test_beyond_its_stages_limits_the_api_is_throttled(stack: Stack) -> None:
    settings = stack.cloud.client("apigatewayv2").get_stage(ApiId=stack["Api"], StageName="$default")
    assert settings["DefaultRouteSettings"] == {"ThrottlingBurstLimit": 60, "ThrottlingRateLimit": 30.0}
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: stack.request("GET", "/nothing"), range(300)))
    assert (429, {"message": "Too Many Requests"}) in answers
    assert sum(status == 404 for status, _ in answers) >= 60
    time.sleep(2)
    assert stack.request("GET", "/nothing")[0] == 404


def test_a_route_may_be_open_and_have_limits_of_its_own(cloud: Cloud, unique: Callable[[str], str], tmp_path: Path) -> None:
    def on(method: str, path: str, **more: Any) -> dict[str, Any]:
        return {"Type": "HttpApi", "Properties": {"ApiId": {"Ref": "Api"}, "Method": method, "Path": path, **more}}

    template = tmp_path / "template.yaml"
    template.write_text(yaml.safe_dump({"Transform": "AWS::Serverless-2016-10-31", "Resources": {
        "Api": {"Type": "AWS::Serverless::HttpApi", "Properties": {
            "StageName": "$default", "Auth": {"EnableIamAuthorizer": True, "DefaultAuthorizer": "AWS_IAM"},
            "DefaultRouteSettings": {"ThrottlingRateLimit": 30, "ThrottlingBurstLimit": 60},
            "RouteSettings": {"POST /enrolments": {"ThrottlingRateLimit": 0.1, "ThrottlingBurstLimit": 2}}}},
        "Function": {"Type": "AWS::Serverless::Function", "Properties": {
            "Runtime": "python3.11", "Handler": "index.handler", "InlineCode": "def handler(event, context): return {'ok': 1}",
            "Events": {"Open": on("POST", "/enrolments", Auth={"Authorizer": "NONE"}), "Shut": on("GET", "/devices")}}}},
        "Outputs": {"Api": {"Value": {"Ref": "Api"}}}}))
    deployment, state = Deployment(cloud.endpoint, template, unique("open"), {}), StateDir(tmp_path)
    [output] = deploy(deployment, state)["Outputs"]
    check(deployment, state.packaged_template)

    def ask(method: str, path: str) -> int:
        url = f"{cloud.endpoint}/_aws/execute-api/{output['OutputValue']}{path}"
        return send(urllib.request.Request(url, method=method))[0]

    assert [ask("POST", "/enrolments") for _ in range(4)] == [200, 200, 429, 429]
    assert ask("GET", "/devices") == 403
