"""AWS: what schedules and topics of a template do, and for whom they may."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.deploy import DeployFailed, Deployment, deploy
from local.deploy_check import check
from local.settings import StateDir
from local.tests.conftest import Cloud, policy_document
from local.tests.controls import control
from local.tests.iot_refusals import refused
from local.tests.keeping_function import SOURCE, KeepingFunction

DONE = {"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}
CRON = "cron(0 3 * * ? *)"


def template(kept: Path) -> dict[str, Any]:
    function = {"Runtime": "python3.11", "Handler": "index.handler", "InlineCode": SOURCE,
                "Environment": {"Variables": {"KEEP": str(kept)}}}
    return {"Transform": "AWS::Serverless-2016-10-31", "Resources": {
        "Findings": {"Type": "AWS::SNS::Topic", "Properties": {}},
        "FindingsPolicy": {"Type": "AWS::SNS::TopicPolicy", "Properties": {
            "Topics": [{"Ref": "Findings"}],
            "PolicyDocument": {"Version": "2012-10-17", "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sns:Publish",
                 "Resource": {"Ref": "Findings"}}]}}},
        "Keep": {"Type": "AWS::Serverless::Function", "Properties": {**function, "Events": {
            "Daily": {"Type": "ScheduleV2", "Properties": {
                "ScheduleExpression": "rate(1 day)", "ScheduleExpressionTimezone": "Europe/Rome",
                "Input": '{"by": "<aws.scheduler.schedule-arn>", "at": "<aws.scheduler.scheduled-time>"}',
                "RetryPolicy": {"MaximumRetryAttempts": 5, "MaximumEventAgeInSeconds": 3600}}},
            "Hourly": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 hour)", "Input": '{"by": "rule"}'}},
            "Never": {"Type": "ScheduleV2", "Properties": {"ScheduleExpression": "rate(1 day)", "State": "DISABLED"}},
            "Told": {"Type": "SNS", "Properties": {"Topic": {"Ref": "Findings"}}}}}},
        "Flow": {"Type": "AWS::Serverless::StateMachine", "Properties": {"Definition": DONE, "Policies": [], "Events": {
            "Daily": {"Type": "ScheduleV2", "Properties": {
                "ScheduleExpression": CRON, "Input": '{"shard": 1}',
                "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 10}}},
            "Hourly": {"Type": "Schedule", "Properties": {"Schedule": "rate(1 hour)", "Input": '{"shard": 2}'}}}}},
    }, "Outputs": {"Flow": {"Value": {"Ref": "Flow"}}, "Keep": {"Value": {"Fn::GetAtt": ["Keep", "Arn"]}},
                   "Findings": {"Value": {"Ref": "Findings"}}}}


@dataclass
class Scheduled:
    """The stack of these tests."""

    cloud: Cloud
    deployment: Deployment
    state: StateDir
    outputs: dict[str, str]
    function: KeepingFunction

    def schedule(self, output: str, kind: str) -> str:
        """The ARN of the schedule (`scheduler`) or rule (`events`) that has this output as its target."""
        _, listed = control(self.cloud, "GET", "schedules")
        [found] = [each["arn"] for each in listed
                   if self.outputs[output] in each["targets"] and f":{kind}:" in each["arn"] and each["state"] == "ENABLED"]
        return found

    def fire(self, arn: str) -> Any:
        status, answer = control(self.cloud, "POST", "schedules", {"arn": arn})
        assert status == 200, answer
        return [each["refusal"] for each in answer["deliveries"]]


@pytest.fixture(scope="module")
def scheduled(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Scheduled:
    folder = tmp_path_factory.mktemp("scheduled")
    file, kept = folder / "template.yaml", folder / "kept"
    file.write_text(yaml.safe_dump(template(kept)))
    deployment, state = Deployment(cloud.endpoint, file, "scheduled", {}), StateDir(folder)
    stack = deploy(deployment, state)
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    return Scheduled(cloud, deployment, state, outputs, KeepingFunction(outputs["Keep"], kept))


def test_the_check_reads_all_of_it(scheduled):
    assert check(scheduled.deployment, scheduled.state.packaged_template) > 0


@pytest.mark.parametrize(("kind", "shard"), [("scheduler", 1), ("events", 2)])
def test_a_workflow_is_started_with_the_schedules_input(scheduled, kind, shard):
    states = scheduled.cloud.client("stepfunctions")
    assert scheduled.fire(scheduled.schedule("Flow", kind)) == [None]
    started = states.list_executions(stateMachineArn=scheduled.outputs["Flow"])["executions"]
    inputs = [json.loads(states.describe_execution(executionArn=each["executionArn"])["input"]) for each in started]
    assert {"shard": shard} in inputs


def test_a_function_is_invoked_with_the_schedules_input(scheduled):
    before = len(scheduled.function.events(0))
    daily, hourly = (scheduled.schedule("Keep", kind) for kind in ("scheduler", "events"))
    assert scheduled.fire(daily) == [None]
    [event] = scheduled.function.events(before + 1)[before:]
    assert event["by"] == daily
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["at"])
    assert scheduled.fire(hourly) == [None]
    assert scheduled.function.events(before + 2)[before + 1:] == [{"by": "rule"}]


def test_what_is_disabled_or_missing_is_not_fired(scheduled):
    _, listed = control(scheduled.cloud, "GET", "schedules")
    [never] = [each["arn"] for each in listed if each["name"].endswith("KeepNever")]
    assert control(scheduled.cloud, "POST", "schedules", {"arn": never})[0] == 409
    assert control(scheduled.cloud, "POST", "schedules", {"arn": "none"})[0] == 404


def test_a_topic_invokes_the_function_with_awss_record(scheduled):
    before, topic = len(scheduled.function.events(0)), scheduled.outputs["Findings"]
    sns = scheduled.cloud.client("sns")
    published = sns.publish(TopicArn=topic, Message='{"taskId": "t"}', Subject="audit", MessageAttributes={
        "kind": {"DataType": "String", "StringValue": "a"}})
    sns.publish(TopicArn=topic, Message="plain")
    records = [event["Records"][0] for event in scheduled.function.events(before + 2)[before:]]
    # They may come in either order.
    first, second = sorted(records, key=lambda record: record["Sns"]["Message"] == "plain")
    assert set(first) == {"EventSource", "EventVersion", "EventSubscriptionArn", "Sns"}
    assert (first["EventSource"], first["EventVersion"]) == ("aws:sns", "1.0")
    assert first["EventSubscriptionArn"].startswith(f"{topic}:")
    assert set(first["Sns"]) == {
        "Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertUrl",
        "UnsubscribeUrl", "MessageAttributes"}
    assert (first["Sns"]["MessageId"], first["Sns"]["Subject"]) == (published["MessageId"], "audit")
    assert first["Sns"]["MessageAttributes"] == {"kind": {"Type": "String", "Value": "a"}}
    assert (second["Sns"]["Subject"], second["Sns"]["MessageAttributes"]) == (None, {})


def test_a_topic_that_the_function_does_not_permit_invokes_nothing(scheduled, unique):
    before, sns = len(scheduled.function.events(0)), scheduled.cloud.client("sns")
    topic = sns.create_topic(Name=unique("stranger"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="lambda", Endpoint=scheduled.outputs["Keep"])
    sns.publish(TopicArn=topic, Message="m")
    assert len(scheduled.function.events(before + 1, seconds=0.5)) == before


def new_role(cloud: Cloud, name: str, service: str, action: str = "iam:ListRoles") -> str:
    iam = cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy_document([trust]))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy_document(
        [{"Effect": "Allow", "Action": action, "Resource": "*"}]))
    return arn


@pytest.mark.parametrize("output", ["Flow", "Keep"])
def test_a_schedule_reaches_only_what_its_role_may_and_its_dead_letters_tell(scheduled, unique, output):
    cloud = scheduled.cloud
    queue = cloud.client("sqs").create_queue(QueueName=unique("dead"))["QueueUrl"]
    dead = f"arn:aws:sqs:{cloud.region}:{cloud.account}:{queue.rsplit('/', 1)[1]}"
    name = unique("schedule")
    arn = cloud.client("scheduler").create_schedule(
        Name=name, ScheduleExpression=CRON, FlexibleTimeWindow={"Mode": "OFF"}, Target={
            "Arn": scheduled.outputs[output], "Input": '{"lost": true}', "DeadLetterConfig": {"Arn": dead},
            "RoleArn": new_role(cloud, unique("scheduler"), "scheduler.amazonaws.com", "sqs:SendMessage")})["ScheduleArn"]
    [reason] = scheduled.fire(arn)
    assert "may not" in reason
    assert cloud.client("sqs").receive_message(QueueUrl=queue)["Messages"][0]["Body"] == '{"lost": true}'


def test_a_role_that_the_scheduler_cannot_assume_is_refused(scheduled, unique):
    with refused("ValidationException"):
        scheduled.cloud.client("scheduler").create_schedule(
            Name=unique("schedule"), ScheduleExpression=CRON, FlexibleTimeWindow={"Mode": "OFF"}, Target={
                "Arn": scheduled.outputs["Flow"], "RoleArn": new_role(scheduled.cloud, unique("scheduler"), "states.amazonaws.com")})


def test_a_stack_whose_schedule_is_refused_fails(cloud, unique, tmp_path):
    file = tmp_path / "template.yaml"
    file.write_text(yaml.safe_dump({"Resources": {"Daily": {"Type": "AWS::Scheduler::Schedule", "Properties": {
        "ScheduleExpression": CRON, "FlexibleTimeWindow": {"Mode": "OFF"}, "Target": {
            "Arn": f"arn:aws:lambda:{cloud.region}:{cloud.account}:function:f",
            "RoleArn": new_role(cloud, unique("scheduler"), "states.amazonaws.com")}}}}}))
    with pytest.raises(DeployFailed, match="must allow AWS EventBridge Scheduler to assume"):
        deploy(Deployment(cloud.endpoint, file, unique("refused"), {}), StateDir(tmp_path))


@pytest.mark.parametrize("permitted", [True, False])
def test_a_rule_sends_to_a_queue_only_if_the_queue_lets_it(cloud, unique, permitted):
    events, sqs, name = cloud.client("events"), cloud.client("sqs"), unique("rule")
    queue = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    queue_arn = f"arn:aws:sqs:{cloud.region}:{cloud.account}:{queue.rsplit('/', 1)[1]}"
    rule = events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))["RuleArn"]
    allowed = rule if permitted else f"{rule}-other"
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
                 "Resource": queue_arn, "Condition": {"ArnEquals": {"aws:SourceArn": allowed}}}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy_document([statement])})
    events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": queue_arn}])
    events.put_events(Entries=[{"Source": name, "DetailType": "d", "Detail": "{}"}])
    time.sleep(0.1)
    assert len(sqs.receive_message(QueueUrl=queue).get("Messages", [])) == int(permitted)
