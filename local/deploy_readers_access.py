"""Reads roles, policies, keys and permissions back."""

from __future__ import annotations

import json
from typing import Any

from local.deploy_reader import Properties, Reader, tags


def role(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::IAM::Role"""
    iam = reader["iam"]
    found = iam.get_role(RoleName=name)["Role"]
    inline = [
        {"PolicyName": each,
         "PolicyDocument": iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"]}
        for each in iam.list_role_policies(RoleName=name)["PolicyNames"]
    ]
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    return {
        "RoleName": found["RoleName"],
        "Path": found["Path"],
        "Description": found.get("Description", ""),
        "MaxSessionDuration": found.get("MaxSessionDuration"),
        "AssumeRolePolicyDocument": found["AssumeRolePolicyDocument"],
        "Policies": inline,
        "ManagedPolicyArns": [each["PolicyArn"] for each in attached],
        "Tags": tags({each["Key"]: each["Value"] for each in found.get("Tags", [])}),
    }


def inline_policy(reader: Reader, _id: str, expected: Properties) -> Properties:
    """AWS::IAM::Policy"""
    found: Properties = {}
    holders = []
    for name in expected["Roles"]:
        found = reader["iam"].get_role_policy(RoleName=name, PolicyName=expected["PolicyName"])
        holders.append(name)
    return {"PolicyName": found["PolicyName"], "PolicyDocument": found["PolicyDocument"], "Roles": holders}


def managed_policy(reader: Reader, arn: str, _expected: Properties) -> Properties:
    """AWS::IAM::ManagedPolicy"""
    policy = reader["iam"].get_policy(PolicyArn=arn)["Policy"]
    version = reader["iam"].get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    return {
        "Description": policy.get("Description", ""),
        "ManagedPolicyName": policy["PolicyName"],
        "PolicyDocument": version["Document"],
    }


def key(reader: Reader, key_id: str, _expected: Properties) -> Properties:
    """AWS::KMS::Key"""
    kms = reader["kms"]
    metadata = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    # Only a symmetric key has a rotation to tell of.
    rotates = metadata["KeySpec"] == "SYMMETRIC_DEFAULT" and kms.get_key_rotation_status(KeyId=key_id)["KeyRotationEnabled"]
    return {
        "Description": metadata["Description"],
        "EnableKeyRotation": rotates,
        "KeyPolicy": json.loads(kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"]),
        "KeySpec": metadata["KeySpec"],
        "KeyUsage": metadata["KeyUsage"],
        "MultiRegion": metadata.get("MultiRegion", False),
    }


def alias(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::KMS::Alias"""
    return {"AliasName": name, "TargetKeyId": reader["kms"].describe_key(KeyId=name)["KeyMetadata"]["KeyId"]}


def permission(reader: Reader, _id: str, expected: Properties) -> Properties:
    """AWS::Lambda::Permission: the statement of the function's policy that is like it"""
    policy = json.loads(reader["lambda"].get_policy(FunctionName=expected["FunctionName"])["Policy"])
    statements = [_as_permission(statement) for statement in policy["Statement"]]
    best = max(statements, key=lambda each: sum(expected.get(name) == value for name, value in each.items()), default={})
    return {**best, "FunctionName": expected["FunctionName"]}


def _as_permission(statement: dict[str, Any]) -> Properties:
    conditions = {
        name.lower(): value
        for operator in (statement.get("Condition") or {}).values() for name, value in operator.items()
    }
    principal = statement["Principal"]
    shown = {
        "Action": statement["Action"],
        "Principal": principal.get("Service", principal.get("AWS")) if isinstance(principal, dict) else principal,
    }
    for property_name, condition in (("SourceArn", "aws:sourcearn"), ("SourceAccount", "aws:sourceaccount")):
        if condition in conditions:
            shown[property_name] = conditions[condition]
    return shown


READERS = {
    "AWS::IAM::ManagedPolicy": managed_policy,
    "AWS::IAM::Policy": inline_policy,
    "AWS::IAM::Role": role,
    "AWS::KMS::Alias": alias,
    "AWS::KMS::Key": key,
    "AWS::Lambda::Permission": permission,
}
