"""The deploy check finds what is there otherwise than the template says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from local.deploy_check import CheckFailed, check, matches
from local.deploy_template import Absent, Resolver, Unknown
from local.tests.deployed import Stack


def test_what_was_just_deployed_passes(stack: Stack) -> None:
    assert check(stack.deployment, stack.state.packaged_template) > 80


def open_route(stack: Stack) -> None:
    gateway = stack.cloud.client("apigatewayv2")
    route = next(each for each in gateway.get_routes(ApiId=stack["Api"])["Items"] if "POST" in each["RouteKey"])
    gateway.update_route(ApiId=stack["Api"], RouteId=route["RouteId"], AuthorizationType="NONE")


def no_expiry(stack: Stack) -> None:
    stack.cloud.client("dynamodb").update_time_to_live(
        TableName=stack["Table"], TimeToLiveSpecification={"Enabled": False, "AttributeName": "expiresAt"})


def open_bucket(stack: Stack) -> None:
    stack.cloud.client("s3").delete_bucket_policy(Bucket=stack["Bucket"])


def wider_role(stack: Stack) -> None:
    role = stack.cloud.client("lambda").get_function_configuration(FunctionName=stack["Keyless"])["Role"]
    iam = stack.cloud.client("iam")
    name = role.rsplit("/", 1)[1]
    [policy] = iam.list_role_policies(RoleName=name)["PolicyNames"]
    iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'))


def no_permission(stack: Stack) -> None:
    functions = stack.cloud.client("lambda")
    functions.remove_permission(FunctionName=stack["Probe"], StatementId=stack.permission("POST"))


@pytest.mark.parametrize(("breakage", "named"), [
    (open_route, "Api (AWS::ApiGatewayV2::Api): Body"),
    (no_expiry, "Rows (AWS::DynamoDB::Table): TimeToLiveSpecification"),
    (open_bucket, "BucketPolicy (AWS::S3::BucketPolicy)"),
    (wider_role, "KeylessRole (AWS::IAM::Role): Policies"),
    (no_permission, "ProbeWritePermission (AWS::Lambda::Permission): SourceArn"),
])
def test_a_difference_fails_the_check_and_is_named(
        second_stack: Stack, breakage: Callable[[Stack], None], named: str) -> None:
    breakage(second_stack)
    with pytest.raises(CheckFailed) as failure:
        check(second_stack.deployment, second_stack.state.packaged_template)
    assert named in str(failure.value)


@pytest.mark.parametrize(("expected", "actual", "same"), [
    ("true", True, True),
    (30, "30", True),
    (30, 30.0, True),
    ({"a": 1}, {"a": 1, "b": 2}, True),
    ({"a": 1, "b": 2}, {"a": 1}, False),
    (["s3:*"], "s3:*", True),
    ("s3:*", ["s3:*"], True),
    (["a", "b"], ["b", "a"], True),
    (["a"], ["a", "b"], False),
    (Unknown(), "whatever", True),
])
def test_matches(expected: Any, actual: Any, same: bool) -> None:
    assert matches(expected, actual) is same


def resolver(**parameters: str) -> Resolver:
    template = {"Conditions": {"Named": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Name"}, ""]}]}}, "Resources": {}}
    return Resolver(template, parameters, {"Queue": "q-1"}, {"Queue": {"Arn": "arn:q"}}, "stack")


@pytest.mark.parametrize(("given", "expected"), [
    ({"Ref": "Queue"}, "q-1"),
    ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:q"),
    ({"Fn::Sub": "${AWS::Region}-${Queue.Arn}-${!kept}"}, "us-east-1-arn:q-${kept}"),
    ({"Fn::Join": ["/", ["a", {"Ref": "Queue"}]]}, "a/q-1"),
    ({"Fn::If": ["Named", "yes", "no"]}, "yes"),
    ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
    ({"Ref": "AWS::NoValue"}, Absent),
])
def test_resolver(given: Any, expected: Any) -> None:
    assert resolver(Name="x").value(given) == expected


def test_what_only_the_resource_knows_is_unknown() -> None:
    assert isinstance(resolver(Name="x").value({"Fn::Sub": "${Queue.Other}/a"}), Unknown)
