"""Reads functions, workflows, rules and the API back."""

from __future__ import annotations

import json
from typing import Any

from local.deploy_reader import Properties, Reader, capitalised, tags
from local.settings import REGION


def function(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::Lambda::Function"""
    found = reader["lambda"].get_function(FunctionName=name)
    reserved = found.get("Concurrency", {}).get("ReservedConcurrentExecutions")
    return {
        **found["Configuration"],
        "Tags": tags(found.get("Tags", {})),
        "ReservedConcurrentExecutions": reserved,
    }


def event_invoke_config(reader: Reader, _id: str, expected: Properties) -> Properties:
    """AWS::Lambda::EventInvokeConfig"""
    found = reader["lambda"].get_function_event_invoke_config(
        FunctionName=expected["FunctionName"], Qualifier="$LATEST")
    return {**found, "FunctionName": expected["FunctionName"]}


def event_source_mapping(reader: Reader, uuid: str, _expected: Properties) -> Properties:
    """AWS::Lambda::EventSourceMapping"""
    found = reader["lambda"].get_event_source_mapping(UUID=uuid)
    return {**found, "FunctionName": found["FunctionArn"].rsplit(":", 1)[1]}


def state_machine(reader: Reader, arn: str, expected: Properties) -> Properties:
    """AWS::StepFunctions::StateMachine"""
    found = reader["stepfunctions"].describe_state_machine(stateMachineArn=arn)
    left = [name for name in expected.get("DefinitionSubstitutions", {}) if f"${{{name}}}" in found["definition"]]
    shown = {
        "StateMachineName": found["name"],
        "StateMachineType": found["type"],
        "RoleArn": found["roleArn"],
        "LoggingConfiguration": capitalised(found.get("loggingConfiguration", {})),
        "TracingConfiguration": capitalised(found.get("tracingConfiguration", {})),
        "DefinitionSubstitutions": (
            {name: "not substituted" for name in left} if left else expected.get("DefinitionSubstitutions")),
        "Tags": tags({each["key"]: each["value"] for each in
                      reader["stepfunctions"].list_tags_for_resource(resourceArn=arn)["tags"]}),
    }
    # What is substituted has no counterpart in the written definition.
    deployed = _shape(json.loads(found["definition"]))
    for source in ("Definition", "DefinitionString", "DefinitionS3Location"):
        if source in expected:
            same = _shape(_written(reader, source, expected[source])) == deployed
            shown[source] = expected[source] if same else "another definition"
    return shown


def _written(reader: Reader, source: str, given: Any) -> Any:
    if source == "DefinitionS3Location":
        return json.loads(reader["s3"].get_object(Bucket=given["Bucket"], Key=given["Key"])["Body"].read())
    return json.loads(given) if isinstance(given, str) else given


def _shape(definition: Any) -> Any:
    """A definition without its texts, some of which are substituted."""
    if isinstance(definition, dict):
        return {name: _shape(value) for name, value in definition.items()}
    if isinstance(definition, list):
        return [_shape(each) for each in definition]
    return None


def api(reader: Reader, api_id: str, expected: Properties) -> Properties:
    """AWS::ApiGatewayV2::Api: its routes as an OpenAPI body"""
    gateway = reader["apigatewayv2"]
    found = gateway.get_api(ApiId=api_id)
    targets = {
        f"integrations/{each['IntegrationId']}": each for each in gateway.get_integrations(ApiId=api_id)["Items"]}
    paths: dict[str, Any] = {}
    for route in gateway.get_routes(ApiId=api_id)["Items"]:
        method, _, path = route["RouteKey"].partition(" ")
        target = targets[route["Target"]]
        paths.setdefault(path, {})[method.lower()] = {
            "x-amazon-apigateway-integration": {
                "httpMethod": target["IntegrationMethod"],
                "type": target["IntegrationType"].lower(),
                "uri": f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
                       f"{target['IntegrationUri']}/invocations",
                "payloadFormatVersion": target["PayloadFormatVersion"],
            },
            "security": [{route["AuthorizationType"]: []}],
        }
    # What else a body says describes the API to readers and changes nothing.
    wanted = expected.get("Body", {})
    described = {name: value for name, value in wanted.items() if name != "paths"}
    for path, operations in wanted.get("paths", {}).items():
        for method, operation in operations.items():
            shown = paths.get(path, {}).get(method)
            if shown is not None:
                paths[path][method] = {**operation, **shown}
    return {"Name": found["Name"], "ProtocolType": found["ProtocolType"], "Body": {**described, "paths": paths}}


def stage(reader: Reader, name: str, expected: Properties) -> Properties:
    """AWS::ApiGatewayV2::Stage"""
    found = reader["apigatewayv2"].get_stage(ApiId=expected["ApiId"], StageName=name)
    return {**found, "ApiId": expected["ApiId"]}


def topic_rule(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::IoT::TopicRule"""
    found = capitalised(reader["iot"].get_topic_rule(ruleName=name)["rule"])
    return {"RuleName": name, "TopicRulePayload": {**found, "AwsIotSqlVersion": found.get("AwsIotSqlVersion")}}


def event_bus(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::Events::EventBus"""
    return {"Name": reader["events"].describe_event_bus(Name=name)["Name"]}


def schedule(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::Scheduler::Schedule"""
    return dict(reader["scheduler"].get_schedule(Name=name))


READERS = {
    "AWS::ApiGatewayV2::Api": api,
    "AWS::ApiGatewayV2::Stage": stage,
    "AWS::Events::EventBus": event_bus,
    "AWS::IoT::TopicRule": topic_rule,
    "AWS::Lambda::EventInvokeConfig": event_invoke_config,
    "AWS::Lambda::EventSourceMapping": event_source_mapping,
    "AWS::Lambda::Function": function,
    "AWS::Scheduler::Schedule": schedule,
    "AWS::StepFunctions::StateMachine": state_machine,
}
