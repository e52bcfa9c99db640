"""AWS: what a topic rule's action may do, what its SQL and templates mean, and when the error action runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from local.tests.conftest import policy_document
from local.tests.keeping_function import KeepingFunction, new_function
from local.tests.mqtt_device import Device, allow_all, new_identity


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
def function(cloud, unique, tmp_path) -> KeepingFunction:
    return new_function(cloud, unique, tmp_path)


def permit(cloud, function_arn: str, source: str) -> None:
    cloud.client("lambda").add_permission(
        FunctionName=function_arn, StatementId="iot", Action="lambda:InvokeFunction",
        Principal="iot.amazonaws.com", SourceArn=f"arn:aws:iot:{cloud.region}:{cloud.account}:rule/{source}",
    )


def test_a_permitted_function_is_invoked_with_what_the_sql_selects(cloud, unique, watcher, new_rule, function):
    arn = function.arn
    client = unique("claim")
    topic = f"lamplighter/claims/{client}/request"
    rule = new_rule(
        "SELECT *, clientid() AS clientId, principal() AS principal, topic(3) AS topicClientId "
        f"FROM '{topic}'",
        {"lambda": {"functionArn": arn}},
    )
    permit(cloud, arn, rule)
    assert watcher.publish(topic, {"thingName": "light", "nonce": "1"})
    assert function.events() == [{
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
    arn = function.arn
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
    assert function.events(seconds=0.5) == []


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


def test_every_rule_of_a_lifecycle_event_runs_and_one_that_fails_hinders_no_other(
    cloud, unique, tmp_path, watcher, new_rule, republish, function,
):
    light, told, also, errors = unique("light"), unique("told"), unique("also"), unique("errors")
    topic = f"$aws/events/presence/connected/{light}"
    for action in (republish(told), republish(also)):
        new_rule(f"SELECT *, topic(5) AS topicThing, clientid() AS sender, timestamp() AS at FROM '{topic}'", action)
    new_rule(f"SELECT * FROM '{topic}'", {"lambda": {"functionArn": function.arn}}, republish(errors))
    identity = new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    for heard in (told, also, errors):
        assert watcher.subscribe(heard)
    with Device(cloud, light, identity) as device:
        assert device.connect()
        heard = dict(watcher.receive() for _ in range(3))
    for each in (told, also):
        assert heard[each] | {"topicThing": light, "clientId": light, "principalIdentifier": identity.certificate_id,
                              "eventType": "connected"} == heard[each]
        # The event is the service's own message: no client sent it.
        assert heard[each]["sender"] == "n/a"
        assert 0 <= heard[each]["at"] - heard[each]["timestamp"] < 5000
    assert heard[errors]["topic"] == topic


@pytest.mark.parametrize("topic", ["$aws/events/presence/connected/light", "$aws/events/certificates/registered/ca"])
def test_nobody_publishes_a_lifecycle_event_himself(cloud, unique, watcher, new_rule, republish, topic):
    told = unique("told")
    new_rule(f"SELECT * FROM '{topic}'", republish(told))
    assert watcher.subscribe(told)
    identity = watcher.identity
    with Device(cloud, unique("liar"), identity) as liar:
        assert liar.connect()
        assert not liar.publish(topic, {"clientId": "light"})
    assert watcher.hears_nothing()
