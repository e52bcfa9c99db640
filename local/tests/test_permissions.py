"""A function may do what its role allows, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.tests.conftest import Cloud
from local.tests.deployed import Stack


def refused(result: dict[str, Any]) -> bool:
    return "AccessDenied" in result.get("error", "")


def row(stack: Stack, key: str) -> dict[str, Any]:
    return {"TableName": stack["Table"], "Key": {"PK": {"S": key}, "SK": {"S": "A"}}}


def test_rows_by_their_partition_key(stack: Stack) -> None:
    query = {"TableName": stack["Table"], "KeyConditionExpression": "#p = :p AND SK > :s",
             "ExpressionAttributeNames": {"#p": "PK"}}
    mine, theirs, my_query, their_query = stack.calls(
        "Probe",
        ("dynamodb", "get_item", row(stack, "MINE#1")),
        ("dynamodb", "get_item", row(stack, "THEIRS#1")),
        ("dynamodb", "query", {**query, "ExpressionAttributeValues": {":p": {"S": "MINE#1"}, ":s": {"S": "A"}}}),
        ("dynamodb", "query", {**query, "ExpressionAttributeValues": {":p": {"S": "THEIRS#1"}, ":s": {"S": "A"}}}),
    )
    assert "error" not in mine and "error" not in my_query
    assert refused(theirs) and refused(their_query)


def test_each_item_of_a_transaction_by_its_own_key(stack: Stack) -> None:
    def put(key: str) -> dict[str, Any]:
        return {"Put": {"TableName": stack["Table"], "Item": {"PK": {"S": key}, "SK": {"S": "T"}}}}

    allowed, mixed = stack.calls(
        "Probe",
        ("dynamodb", "transact_write_items", {"TransactItems": [put("MINE#1"), put("MINE#2")]}),
        ("dynamodb", "transact_write_items", {"TransactItems": [put("MINE#1"), put("THEIRS#1")]}),
    )
    assert "error" not in allowed
    assert refused(mixed)


def test_an_action_that_the_role_lacks(stack: Stack) -> None:
    results = stack.calls(
        "Probe",
        ("dynamodb", "delete_item", row(stack, "MINE#1")),
        ("s3", "delete_object", {"Bucket": stack["Bucket"], "Key": "keys/a"}),
        ("iot", "create_thing", {"thingName": "not-mine"}),
        ("iot-data", "publish", {"topic": "theirs/a", "payload": "{}"}),
        ("kms", "encrypt", {"KeyId": stack["KeyArn"], "Plaintext": "x"}),
        ("stepfunctions", "start_execution", {"stateMachineArn": stack["Workflow"]}),
        ("events", "put_events", {"Entries": [{"Source": "a", "DetailType": "b", "Detail": "{}"}]}),
        ("iotsecuretunneling", "list_tunnels", {}),
    )
    assert [result for result in results if not refused(result) and result.get("error") != "ForbiddenException"] == []


def test_an_action_that_the_role_has(stack: Stack) -> None:
    stack.cloud.client("iot").create_thing(thingName="there")
    found, published = stack.calls(
        "Probe",
        ("iot", "describe_thing", {"thingName": "there"}),
        ("iot-data", "publish", {"topic": "mine/a", "payload": "{}"}),
    )
    assert found["thingName"] == "there"
    assert "error" not in published


@pytest.mark.parametrize(("context", "allowed"), [
    ({"thingName": "lamp-1"}, True),
    ({}, False),
    ({"thingName": "lamp-1", "other": "x"}, False),
    ({"other": "x"}, False),
])
def test_a_key_by_its_encryption_context(stack: Stack, context: dict[str, str], allowed: bool) -> None:
    [result] = stack.calls("Probe", ("kms", "generate_data_key", {
        "KeyId": stack["KeyArn"], "KeySpec": "AES_256", "EncryptionContext": context}))
    assert refused(result) is not allowed


def test_an_object_needs_its_key(stack: Stack) -> None:
    put = ("s3", "put_object", {"Bucket": stack["Bucket"], "Key": "keys/b", "Body": "secret"})
    get = ("s3", "get_object", {"Bucket": stack["Bucket"], "Key": "keys/b"})
    assert "error" not in stack.calls("Probe", put)[0]
    assert stack.calls("Probe", get)[0]["Body"] == "secret"
    assert all(refused(result) for result in stack.calls("Keyless", put, get))


@pytest.mark.parametrize(("actions", "code"), [(["s3:GetObject"], "AccessDenied"),
                                               (["s3:GetObject", "s3:ListBucket"], "NoSuchKey")])
def test_that_an_object_is_missing_is_told_to_who_may_list(
        cloud: Cloud, unique: Callable[[str], str], actions: list[str], code: str) -> None:
    bucket, root = unique("sparse"), cloud.client("s3")
    root.create_bucket(Bucket=bucket)
    root.put_object(Bucket=bucket, Key="there", Body=b"x")
    s3 = cloud.as_role(unique("reader"), [{"Effect": "Allow", "Action": actions, "Resource": "*"}])("s3")
    assert s3.get_object(Bucket=bucket, Key="there")["Body"].read() == b"x"
    with pytest.raises(ClientError) as missing:
        s3.get_object(Bucket=bucket, Key="missing")
    assert missing.value.response["Error"]["Code"] == code
