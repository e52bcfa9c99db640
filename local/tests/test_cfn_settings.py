"""What the template says of a resource is so."""

from __future__ import annotations

import json
import time

from local.tests.deployed import Stack


def test_a_table_expires_is_backed_up_and_encrypted(stack: Stack) -> None:
    dynamodb = stack.cloud.client("dynamodb")
    table = dynamodb.describe_table(TableName=stack["Table"])["Table"]
    assert table["SSEDescription"]["Status"] == "ENABLED"
    assert table["SSEDescription"]["SSEType"] == "KMS"
    assert table["DeletionProtectionEnabled"] is False
    expiry = dynamodb.describe_time_to_live(TableName=stack["Table"])["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expiresAt"}
    backups = dynamodb.describe_continuous_backups(TableName=stack["Table"])["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def test_a_bucket_is_encrypted_with_the_key_and_closed(stack: Stack) -> None:
    s3 = stack.cloud.client("s3")
    rules = s3.get_bucket_encryption(Bucket=stack["Bucket"])["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules == [{"BucketKeyEnabled": True, "ApplyServerSideEncryptionByDefault": {
        "SSEAlgorithm": "aws:kms", "KMSMasterKeyID": stack["KeyArn"]}}]
    closed = s3.get_public_access_block(Bucket=stack["Bucket"])["PublicAccessBlockConfiguration"]
    assert set(closed.values()) == {True}
    owner = s3.get_bucket_ownership_controls(Bucket=stack["Bucket"])["OwnershipControls"]["Rules"]
    assert owner == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    old = s3.get_bucket_lifecycle_configuration(Bucket=stack["Bucket"])["Rules"]
    assert [(rule["ID"], rule["NoncurrentVersionExpiration"]) for rule in old] == [("old", {"NoncurrentDays": 30})]


def test_objects_are_replicated_and_their_removal_is_not(stack: Stack) -> None:
    s3 = stack.cloud.client("s3")
    s3.put_object(Bucket=stack["Bucket"], Key="keys/a", Body=b"secret")
    s3.put_object(Bucket=stack["Bucket"], Key="other/a", Body=b"not replicated")
    version = s3.list_object_versions(Bucket=stack["Bucket"], Prefix="keys/a")["Versions"][0]["VersionId"]
    s3.delete_object(Bucket=stack["Bucket"], Key="keys/a", VersionId=version)
    assert "Versions" not in s3.list_object_versions(Bucket=stack["Bucket"], Prefix="keys/a")
    replicas = s3.list_object_versions(Bucket=stack["Replica"])
    keys = [each["Key"] for each in replicas["Versions"]]
    assert "keys/a" in keys and "other/a" not in keys
    assert "DeleteMarkers" not in replicas


def test_a_bucket_policy_that_demands_tls_lets_only_tls_in(stack: Stack) -> None:
    s3 = stack.cloud.client("s3")
    s3.list_objects_v2(Bucket=stack["Bucket"])

    member = stack.cloud.as_role("reads-bucket", [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}])("s3")
    member.list_objects_v2(Bucket=stack["Bucket"])
    member.meta.events.register(
        "before-sign.s3", lambda request, **_: request.headers.add_header("X-Forwarded-Proto", "http"))
    try:
        member.list_objects_v2(Bucket=stack["Bucket"])
    except member.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
    else:
        raise AssertionError("a request without TLS was let in")


def test_a_function_keeps_its_dead_letter_queue_and_its_reserved_concurrency(stack: Stack) -> None:
    functions = stack.cloud.client("lambda")
    configuration = functions.get_function_configuration(FunctionName=stack["Probe"])
    assert configuration["DeadLetterConfig"]["TargetArn"].endswith(stack["Failures"].rsplit("/", 1)[1])
    reserved = functions.get_function_concurrency(FunctionName=stack["Reserved"])
    assert reserved["ReservedConcurrentExecutions"] == 1


def test_an_event_that_a_function_gives_up_is_in_its_queue(stack: Stack) -> None:
    stack.cloud.client("lambda").invoke(
        FunctionName=stack["Probe"], InvocationType="Event", Payload=json.dumps({"do": "raise", "mark": 7}))
    received = stack.cloud.client("sqs").receive_message(QueueUrl=stack["Failures"], WaitTimeSeconds=10)["Messages"]
    assert json.loads(received[0]["Body"])["requestPayload"] == {"do": "raise", "mark": 7}


def test_a_workflow_logs_its_failures_without_their_data(stack: Stack) -> None:
    workflows = stack.cloud.client("stepfunctions")
    machine = workflows.describe_state_machine(stateMachineArn=stack["Workflow"])
    assert machine["loggingConfiguration"]["level"] == "ERROR"
    assert machine["tracingConfiguration"] == {"enabled": True}
    run = workflows.start_execution(stateMachineArn=stack["Workflow"], input=json.dumps({"do": "raise"}))["executionArn"]
    deadline = time.monotonic() + 20
    while workflows.describe_execution(executionArn=run)["status"] == "RUNNING" and time.monotonic() < deadline:
        time.sleep(0.1)
    found = stack.cloud.client("logs").filter_log_events(logGroupName=stack["WorkflowLogs"])["events"]
    lines = [json.loads(event["message"]) for event in found]
    assert {line["type"] for line in lines} == {"TaskFailed", "ExecutionFailed"}
    assert all(line["execution_arn"] == run and "cause" not in line["details"] for line in lines)
