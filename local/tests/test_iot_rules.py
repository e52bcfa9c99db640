"""AWS: what a topic rule's action may do, what its SQL and templates mean, and when the error action runs."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.tests.conftest import policy_document
from local.tests.mqtt_device import Device, allow_all, new_identity

# A function that keeps what it was invoked with.
SOURCE = """
import json, os
def handler(event, context):
    with open(os.environ["KEEP"], "a") as kept:
        kept.write(json.dumps(event) + "\\n")
"""


@pytest.fixture
def iot(cloud):
    return cloud.client("iot")


@pytest.fixture
def watcher(cloud, unique, tmp_path):
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    with Device(cloud, unique("watcher"), identity) as device:
        assert device.connect()
        yield device


@pytest.fixture
def rule_role(cloud, unique) -> Callable[[str, str], str]:
    """A role for rules that allows one action on one resource."""
    iam = cloud.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}

    def make(action: str, resource: str) -> str:
        name = unique("rule-role")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy_document([trust]))["Role"]["Arn"]
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy_document([statement]))
        return arn

    return make


@pytest.fixture
def republish(rule_role) -> Callable[[str], dict]:
    """An action that republishes to a topic, under a role that may publish anywhere."""
    role = rule_role("iot:Publish", "*")
    return lambda topic: {"republish": {"roleArn": role, "topic": topic, "qos": 1}}


@pytest.fixture
def new_rule(iot, unique) -> Callable[..., str]:
    def make(sql: str, action: dict, error_action: dict | None = None) -> str:
        name = unique("rule").replace("-", "_")
        payload: dict[str, Any] = {"sql": sql, "actions": [action], "awsIotSqlVersion": "2016-03-23"}
        if error_action:
            payload["errorAction"] = error_action
        iot.create_topic_rule(ruleName=name, topicRulePayload=payload)
        return name

    return make


@pytest.fixture
def function(cloud, unique, tmp_path) -> tuple[str, Path]:
    """A function's ARN, and the file that it adds its events to."""
    kept = tmp_path / "kept"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("index.py", SOURCE)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = cloud.client("iam").create_role(
        RoleName=unique("function-role"), AssumeRolePolicyDocument=policy_document([trust]),
    )["Role"]["Arn"]
    arn = cloud.client("lambda").create_function(
        FunctionName=unique("function"), Runtime="python3.11", Handler="index.handler", Role=role,
        Code={"ZipFile": archive.getvalue()}, Environment={"Variables": {"KEEP": str(kept)}},
    )["FunctionArn"]
    return arn, kept


def permit(cloud, function_arn: str, source: str) -> None:
    cloud.client("lambda").add_permission(
        FunctionName=function_arn, StatementId="iot", Action="lambda:InvokeFunction",
        Principal="iot.amazonaws.com", SourceArn=f"arn:aws:iot:{cloud.region}:{cloud.account}:rule/{source}",
    )


def events(kept: Path, seconds: float = 5.0) -> list[dict]:
    deadline = time.monotonic() + seconds
    while not kept.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def test_a_permitted_function_is_invoked_with_what_the_sql_selects(cloud, unique, watcher, new_rule, function):
    arn, kept = function
    client = unique("claim")
    topic = f"lamplighter/claims/{client}/request"
    rule = new_rule(
        "SELECT *, clientid() AS clientId, principal() AS principal, topic(3) AS topicClientId "
        f"FROM '{topic}'",
        {"lambda": {"functionArn": arn}},
    )
    permit(cloud, arn, rule)
    assert watcher.publish(topic, {"thingName": "light", "nonce": "1"})
    assert events(kept) == [{
        "thingName": "light",
        "nonce": "1",
        "clientId": watcher.client_id,
        "principal": watcher.identity.certificate_id,
        "topicClientId": client,
    }]


@pytest.mark.parametrize("permitted", ["nobody", "another rule"])
def test_a_function_that_does_not_permit_the_rule_is_not_invoked_and_the_error_action_runs(
    cloud, unique, watcher, new_rule, republish, function, permitted,
):
    arn, kept = function
    topic, errors = unique("dt"), unique("errors")
    rule = new_rule(f"SELECT * FROM '{topic}'", {"lambda": {"functionArn": arn}}, republish(errors))
    if permitted == "another rule":
        permit(cloud, arn, f"{rule}_other")
    assert watcher.subscribe(errors)
    assert watcher.publish(topic, {"a": 1})
    _, error = watcher.receive()
    assert (error["ruleName"], error["topic"]) == (rule, topic)
    assert error["failures"][0]["failedAction"] == "LambdaAction"
    assert error["failures"][0]["failedResource"] == arn
    assert events(kept, seconds=0.5) == []


def test_the_error_action_runs_for_a_function_that_is_not_there(cloud, unique, watcher, new_rule, republish):
    topic, errors = unique("dt"), unique("errors")
    arn = f"arn:aws:lambda:{cloud.region}:{cloud.account}:function:{unique('missing')}"
    new_rule(f"SELECT * FROM '{topic}'", {"lambda": {"functionArn": arn}}, republish(errors))
    assert watcher.subscribe(errors)
    assert watcher.publish(topic, {"a": 1})
    assert watcher.receive()[1]["failures"][0]["failedResource"] == arn


def test_a_republish_topic_is_a_template(unique, watcher, new_rule, republish):
    light, answers = unique("light"), unique("answers")
    new_rule(f"SELECT n FROM 'dt/{light}/tele'", republish(f"{answers}/${{topic(2)}}/${{kind}}/${{clientid()}}"))
    assert watcher.subscribe(f"{answers}/#")
    assert watcher.publish(f"dt/{light}/tele", {"n": 1, "kind": "a"})
    assert watcher.receive() == (f"{answers}/{light}/a/{watcher.client_id}", {"n": 1})


def test_two_dollars_begin_a_reserved_republish_topic(unique, watcher, new_rule, republish):
    thing, topic = unique("light"), unique("dt")
    new_rule(f"SELECT state FROM '{topic}'", republish(f"$$aws/things/{thing}/shadow/update"))
    assert watcher.subscribe(f"$aws/things/{thing}/shadow/update/accepted")
    assert watcher.publish(topic, {"state": {"reported": {"on": True}}})
    assert watcher.receive()[1]["state"] == {"reported": {"on": True}}


def test_an_action_runs_under_the_rules_role(cloud, unique, watcher, new_rule, republish, rule_role):
    topic, answers, errors = unique("dt"), unique("answers"), unique("errors")
    role = rule_role("iot:Publish", f"arn:aws:iot:{cloud.region}:{cloud.account}:topic/elsewhere")
    action = {"republish": {"roleArn": role, "topic": answers}}
    new_rule(f"SELECT * FROM '{topic}'", action, republish(errors))
    assert watcher.subscribe(answers)
    assert watcher.subscribe(errors)
    assert watcher.publish(topic, {"a": 1})
    assert watcher.receive()[0] == errors
    assert watcher.hears_nothing()


def test_functions_of_the_sql(unique, watcher, new_rule, republish):
    topic, answers = unique("dt"), unique("answers")
    new_rule(
        "SELECT lower(name) AS low, upper(name) AS up, concat(name, '-', topic(1)) AS joined, length(name) AS size, "
        "startswith(name, 'Li') AS starts, endswith(name, 'x') AS ends, regexp_matches(name, '^L.*t$') AS matches, "
        "isnull(nothing) AS none, isundefined(missing) AS absent, lower(missing) AS gone, accountid() AS account, "
        f"encode(*, 'base64') AS raw, replace(name, 'L', 'N') AS other FROM '{topic}'",
        republish(answers),
    )
    assert watcher.subscribe(answers)
    assert watcher.publish(topic, '{"name": "Light", "nothing": null}')
    assert watcher.receive()[1] == {
        "low": "light", "up": "LIGHT", "joined": f"Light-{topic}", "size": 5, "starts": True, "ends": False,
        "matches": True, "none": True, "absent": True, "account": "000000000000",
        "raw": "eyJuYW1lIjogIkxpZ2h0IiwgIm5vdGhpbmciOiBudWxsfQ==", "other": "Night",
    }


def test_a_queue_gets_the_message_only_under_a_role_that_may_send_it(
    cloud, unique, watcher, new_rule, republish, rule_role,
):
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic, errors = unique("dt"), unique("errors")
    for allowed in (arn, f"{arn}-other"):
        action = {"sqs": {"queueUrl": queue, "roleArn": rule_role("sqs:SendMessage", allowed), "useBase64": False}}
        new_rule(f"SELECT * FROM '{topic}'", action, republish(errors))
    assert watcher.subscribe(errors)
    assert watcher.publish(topic, {"a": 1})
    assert watcher.receive()[1]["failures"][0]["failedAction"] == "SqsAction"
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(message["Body"]) for message in received] == [{"a": 1}]
