"""Reads topics, rules and schedules back."""

from __future__ import annotations

import json
from typing import Any

from local.deploy_reader import Properties, Reader, tags


def topic(reader: Reader, arn: str, expected: Properties) -> Properties:
    """AWS::SNS::Topic"""
    sns = reader["sns"]
    found = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    subscribed = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    return {
        "TopicName": arn.rsplit(":", 1)[1],
        "DisplayName": found.get("DisplayName", ""),
        "KmsMasterKeyId": found.get("KmsMasterKeyId"),
        # Others may have subscribed besides.
        "Subscription": [
            {"Endpoint": each["Endpoint"], "Protocol": each["Protocol"]} for each in subscribed
            if {"Endpoint": each["Endpoint"], "Protocol": each["Protocol"]} in expected.get("Subscription", [])],
        "Tags": tags({each["Key"]: each["Value"] for each in sns.list_tags_for_resource(ResourceArn=arn)["Tags"]}),
    }


def topic_policy(reader: Reader, _id: str, expected: Properties) -> Properties:
    """AWS::SNS::TopicPolicy: the policy that all its topics have"""
    policies = [
        json.loads(reader["sns"].get_topic_attributes(TopicArn=arn)["Attributes"]["Policy"]) for arn in expected["Topics"]]
    same = all(policy == policies[0] for policy in policies)
    return {"Topics": expected["Topics"], "PolicyDocument": policies[0] if same else policies}


def subscription(reader: Reader, arn: str, _expected: Properties) -> Properties:
    """AWS::SNS::Subscription"""
    found = reader["sns"].get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
    return {
        "TopicArn": found["TopicArn"],
        "Protocol": found["Protocol"],
        "Endpoint": found["Endpoint"],
        "RawMessageDelivery": found.get("RawMessageDelivery", "false"),
        "FilterPolicy": json.loads(found.get("FilterPolicy") or "{}"),
        "FilterPolicyScope": found.get("FilterPolicyScope"),
        "RedrivePolicy": json.loads(found.get("RedrivePolicy") or "{}"),
    }


def rule(reader: Reader, physical_id: str, expected: Properties) -> Properties:
    """AWS::Events::Rule"""
    events, name = reader["events"], physical_id.rsplit("|", 1)[-1].rsplit("/", 1)[-1]
    bus = {"EventBusName": expected["EventBusName"]} if "EventBusName" in expected else {}
    found = events.describe_rule(Name=name, **bus)
    return {
        **found,
        "EventBusName": expected.get("EventBusName"),
        "EventPattern": json.loads(found.get("EventPattern") or "{}"),
        "Targets": events.list_targets_by_rule(Rule=name, **bus)["Targets"],
    }


def schedule(reader: Reader, name: str, expected: Properties) -> Properties:
    """AWS::Scheduler::Schedule"""
    group = {"GroupName": expected["GroupName"]} if "GroupName" in expected else {}
    return reader["scheduler"].get_schedule(Name=name, **group)


def schedule_group(reader: Reader, name: str, _expected: Properties) -> Properties:
    """AWS::Scheduler::ScheduleGroup"""
    scheduler: Any = reader["scheduler"]
    found = scheduler.get_schedule_group(Name=name)
    return {**found, "Tags": scheduler.list_tags_for_resource(ResourceArn=found["Arn"])["Tags"]}


READERS = {
    "AWS::Events::Rule": rule,
    "AWS::SNS::Subscription": subscription,
    "AWS::SNS::Topic": topic,
    "AWS::SNS::TopicPolicy": topic_policy,
    "AWS::Scheduler::Schedule": schedule,
    "AWS::Scheduler::ScheduleGroup": schedule_group,
}
