"""AWS: every call of a workflow is its role's."""

from __future__ import annotations

from typing import Any

import pytest

from local.tests.workflows import Workflows, allow

BASE = "arn:aws:states:::"


@pytest.fixture
def workflows(cloud, unique) -> Workflows:
    return Workflows(cloud, unique)


@pytest.fixture
def things(cloud, unique) -> dict[str, str]:
    """One of each kind of thing that a task may use: the names by which tasks and policies know them."""
    sqs, sns, dynamodb = cloud.client("sqs"), cloud.client("sns"), cloud.client("dynamodb")
    queue, table = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"], unique("table")
    dynamodb.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}])
    bucket = unique("role-bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_object(Bucket=bucket, Key="a", Body=b"a")
    scope = f"{cloud.region}:{cloud.account}"
    topic = sns.create_topic(Name=unique("topic"))["TopicArn"]
    return {
        "queue": queue, "queue arn": f"arn:aws:sqs:{scope}:{queue.rsplit('/', 1)[1]}",
        "topic": topic, "topic arn": topic,
        "table": table, "table arn": f"arn:aws:dynamodb:{scope}:table/{table}",
        "bucket": bucket, "bucket arn": f"arn:aws:s3:::{bucket}/*",
        "bus arn": f"arn:aws:events:{scope}:event-bus/default",
    }


def put(table: str) -> dict[str, Any]:
    return {"TableName": table, "Item": {"PK": {"S": "a"}}}


@pytest.mark.parametrize(("resource", "parameters", "action", "arn", "error"), [
    ("sqs:sendMessage", lambda t: {"QueueUrl": t["queue"], "MessageBody": "a"}, "sqs:SendMessage", "queue arn",
     "SQS.AmazonSQSException"),
    ("sns:publish", lambda t: {"TopicArn": t["topic"], "Message": "a"}, "sns:Publish", "topic arn",
     "SNS.AmazonSNSException"),
    ("events:putEvents", lambda t: {"Entries": [{"Source": "a", "DetailType": "b", "Detail": {}}]}, "events:PutEvents",
     "bus arn", "EventBridge.AmazonEventBridgeException"),
    ("dynamodb:putItem", lambda t: put(t["table"]), "dynamodb:PutItem", "table arn",
     "DynamoDB.AmazonDynamoDBException"),
    ("aws-sdk:dynamodb:putItem", lambda t: put(t["table"]), "dynamodb:PutItem", "table arn",
     "DynamoDb.DynamoDbException"),
    ("aws-sdk:s3:headObject", lambda t: {"Bucket": t["bucket"], "Key": "a"}, "s3:GetObject", "bucket arn", "S3.S3Exception"),
])
def test_a_task_needs_the_permission_for_its_call(workflows, things, resource, parameters, action, arn, error):
    states = {"Call": {"Type": "Task", "Resource": BASE + resource, "Parameters": parameters(things), "End": True}}
    shown = workflows.run(workflows.machine(states, allow(action, things[arn])))
    assert shown["status"] == "SUCCEEDED", shown.get("cause")
    for statement in (allow(action, "arn:aws:none:::other"), allow("iam:ListRoles", things[arn])):
        assert workflows.run(workflows.machine(states, statement))["error"] == error
