"""AWS: an index has the attributes projected into it, and the items that have its keys."""

from __future__ import annotations

from typing import Any

import pytest

from local.tests.iot_refusals import refused


@pytest.fixture
def query(cloud, unique) -> Any:
    """Asks the index of a table with three due rows and one that is not."""
    dynamodb, table = cloud.client("dynamodb"), unique("due")
    dynamodb.create_table(
        TableName=table, BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in (
            ("PK", "S"), ("dueShard", "S"), ("dueAt", "N"))],
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[{
            "IndexName": "due", "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["thingName"]},
            "KeySchema": [{"AttributeName": "dueShard", "KeyType": "HASH"}, {"AttributeName": "dueAt", "KeyType": "RANGE"}]}])
    for number in range(3):
        dynamodb.put_item(TableName=table, Item={
            "PK": {"S": str(number)}, "dueShard": {"S": "a"}, "dueAt": {"N": str(10 - number)},
            "thingName": {"S": f"light-{number}"}, "other": {"S": "x"}})
    dynamodb.put_item(TableName=table, Item={"PK": {"S": "9"}, "thingName": {"S": "light-9"}})
    return lambda **more: dynamodb.query(
        TableName=table, IndexName="due", KeyConditionExpression="dueShard = :shard AND dueAt <= :now",
        ExpressionAttributeValues={":shard": {"S": "a"}, ":now": {"N": "9"}}, **more)["Items"]


def test_items_come_by_the_indexs_key_with_what_is_projected(query):
    items = query()
    assert [item["PK"]["S"] for item in items] == ["2", "1"]
    assert all(set(item) == {"PK", "dueShard", "dueAt", "thingName"} for item in items)
    assert query(ProjectionExpression="#t", ExpressionAttributeNames={"#t": "thingName"}) == [
        {"thingName": {"S": "light-2"}}, {"thingName": {"S": "light-1"}}]


@pytest.mark.parametrize("more", [
    {"ProjectionExpression": "other"},
    {"ProjectionExpression": "thingName, #o", "ExpressionAttributeNames": {"#o": "other"}},
    {"Select": "ALL_ATTRIBUTES"},
    {"ConsistentRead": True},
])
def test_what_an_index_cannot_give_is_refused(query, more):
    with refused("ValidationException"):
        query(**more)
