"""Reads tables, buckets, queues, logs and alarms back."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import ClientError

from local.deploy_reader import Properties, Reader


def table(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::DynamoDB::Table"""
    dynamodb = reader["dynamodb"]
    found = dynamodb.describe_table(TableName=name)["Table"]
    expiry = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    recovery = dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    encryption = found.get("SSEDescription") or {}
    return {
        "TableName": found["TableName"],
        "AttributeDefinitions": found["AttributeDefinitions"],
        "BillingMode": (found.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED"),
        "DeletionProtectionEnabled": found.get("DeletionProtectionEnabled", False),
        "GlobalSecondaryIndexes": found.get("GlobalSecondaryIndexes", []),
        "KeySchema": found["KeySchema"],
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": (
            recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED")},
        "SSESpecification": {
            "SSEEnabled": encryption.get("Status") == "ENABLED",
            "SSEType": encryption.get("SSEType"),
            "KMSMasterKeyId": encryption.get("KMSMasterKeyArn"),
        },
        "StreamSpecification": found.get("StreamSpecification", {}),
        "TimeToLiveSpecification": {
            "AttributeName": expiry.get("AttributeName"), "Enabled": expiry["TimeToLiveStatus"] == "ENABLED"},
    }


def bucket(reader: Reader, name: str, expected: Properties) -> Properties:
    """AWS::S3::Bucket"""
    s3 = reader["s3"]
    found: Properties = {
        "BucketName": name,
        "VersioningConfiguration": s3.get_bucket_versioning(Bucket=name),
    }
    # Each of these is an error where it is not set.
    if "BucketEncryption" in expected:
        found["BucketEncryption"] = _bucket_encryption(s3.get_bucket_encryption(Bucket=name))
    if "LifecycleConfiguration" in expected:
        rules = s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        found["LifecycleConfiguration"] = {"Rules": [_lifecycle_rule(rule) for rule in rules]}
    if "OwnershipControls" in expected:
        found["OwnershipControls"] = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]
    if "PublicAccessBlockConfiguration" in expected:
        found["PublicAccessBlockConfiguration"] = (
            s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"])
    if "ReplicationConfiguration" in expected:
        replication = s3.get_bucket_replication(Bucket=name)["ReplicationConfiguration"]
        found["ReplicationConfiguration"] = {
            "Role": replication["Role"], "Rules": [{**rule, "Id": rule.get("ID")} for rule in replication["Rules"]]}
    if "Tags" in expected:
        found["Tags"] = s3.get_bucket_tagging(Bucket=name)["TagSet"]
    return found


def _bucket_encryption(reply: Any) -> Properties:
    return {"ServerSideEncryptionConfiguration": [
        {"BucketKeyEnabled": rule.get("BucketKeyEnabled", False),
         "ServerSideEncryptionByDefault": rule["ApplyServerSideEncryptionByDefault"]}
        for rule in reply["ServerSideEncryptionConfiguration"]["Rules"]
    ]}


def _lifecycle_rule(rule: Any) -> Properties:
    return {
        **rule,
        "Id": rule.get("ID"),
        "Prefix": (rule.get("Filter") or {}).get("Prefix", ""),
        "ExpirationInDays": (rule.get("Expiration") or {}).get("Days"),
        "ExpiredObjectDeleteMarker": (rule.get("Expiration") or {}).get("ExpiredObjectDeleteMarker"),
    }


def bucket_policy(reader: Reader, _id: str, expected: Properties) -> Properties:
    """AWS::S3::BucketPolicy"""
    policy = reader["s3"].get_bucket_policy(Bucket=expected["Bucket"])["Policy"]
    return {"Bucket": expected["Bucket"], "PolicyDocument": json.loads(policy)}


def queue(reader: Reader, url: str, _expected: Properties) -> Properties:
    """AWS::SQS::Queue"""
    found = reader["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    # The API has policies as texts.
    policies = {name: json.loads(found[name]) for name in ("RedrivePolicy",) if name in found}
    return {**found, **policies, "QueueName": url.rsplit("/", 1)[1]}


def queue_policy(reader: Reader, _id: str, expected: Properties) -> Properties:
    """AWS::SQS::QueuePolicy: the policy that all its queues have"""
    policies = [json.loads(reader["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
                for url in expected["Queues"]]
    same = all(policy == policies[0] for policy in policies)
    return {"Queues": expected["Queues"], "PolicyDocument": policies[0] if same else policies}


def log_group(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::Logs::LogGroup"""
    for found in reader["logs"].describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
        if found["logGroupName"] == name:
            return {"LogGroupName": name, "RetentionInDays": found.get("retentionInDays")}
    raise _missing("DescribeLogGroups", name)


def metric_filter(reader: Reader, _id: str, expected: Properties) -> Properties:
    """AWS::Logs::MetricFilter: the filter of the group that is like it"""
    filters = reader["logs"].describe_metric_filters(logGroupName=expected["LogGroupName"])["metricFilters"]
    for found in filters:
        if found["filterPattern"] == expected["FilterPattern"]:
            return {
                "LogGroupName": found["logGroupName"],
                "FilterPattern": found["filterPattern"],
                "MetricTransformations": [
                    {name[:1].upper() + name[1:]: value for name, value in each.items()}
                    for each in found["metricTransformations"]],
            }
    raise _missing("DescribeMetricFilters", expected["FilterPattern"])


def alarm(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::CloudWatch::Alarm"""
    found = reader["cloudwatch"].describe_alarms(AlarmNames=[name])["MetricAlarms"]
    if not found:
        raise _missing("DescribeAlarms", name)
    return {"AlarmActions": [], **found[0]}


def _missing(operation: str, name: str) -> ClientError:
    return ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": f"{name} is not there"}}, operation)


READERS = {
    "AWS::CloudWatch::Alarm": alarm,
    "AWS::DynamoDB::Table": table,
    "AWS::Logs::LogGroup": log_group,
    "AWS::Logs::MetricFilter": metric_filter,
    "AWS::S3::Bucket": bucket,
    "AWS::S3::BucketPolicy": bucket_policy,
    "AWS::SQS::Queue": queue,
    "AWS::SQS::QueuePolicy": queue_policy,
}
