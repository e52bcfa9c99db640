"""Reads resources back, in the template's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local.settings import ACCOUNT, REGION

Properties = dict[str, Any]


@dataclass
class Reader:
    """Clients to read with."""

    make: Callable[[str], Any]
    _made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, service: str) -> Any:
        """The client of a service."""
        if service not in self._made:
            self._made[service] = self.make(service)
        return self._made[service]


def attributes_of(reader: Reader, kind: str, physical_id: str) -> dict[str, str]:
    """What Fn::GetAtt gives, as far as the check needs it."""
    match kind:
        case "AWS::Lambda::Function":
            return {"Arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{physical_id}"}
        case "AWS::IAM::Role":
            return {"Arn": f"arn:aws:iam::{ACCOUNT}:role/{physical_id}"}
        case "AWS::S3::Bucket":
            return {"Arn": f"arn:aws:s3:::{physical_id}"}
        case "AWS::KMS::Key":
            return {"Arn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{physical_id}"}
        case "AWS::Logs::LogGroup":
            return {"Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{physical_id}:*"}
        case "AWS::Events::EventBus":
            return {"Arn": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{physical_id}"}
        case "AWS::IoT::TopicRule":
            return {"Arn": f"arn:aws:iot:{REGION}:{ACCOUNT}:rule/{physical_id}"}
        case "AWS::StepFunctions::StateMachine":
            return {"Arn": physical_id, "Name": physical_id.rsplit(":", 1)[1]}
        case "AWS::SNS::Topic":
            return {"TopicArn": physical_id, "TopicName": physical_id.rsplit(":", 1)[1]}
        case "AWS::Scheduler::Schedule":
            listed = reader["scheduler"].list_schedules(NamePrefix=physical_id)["Schedules"]
            return {"Arn": next((each["Arn"] for each in listed if each["Name"] == physical_id), "")}
        case "AWS::Events::Rule":
            return {"Arn": _rule_arn(reader["events"], physical_id.rsplit("|", 1)[-1])}
        case "AWS::SQS::Queue":
            name = physical_id.rsplit("/", 1)[1]
            return {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", "QueueName": name}
        case "AWS::DynamoDB::Table":
            table = reader["dynamodb"].describe_table(TableName=physical_id)["Table"]
            return {"Arn": table["TableArn"], "StreamArn": table.get("LatestStreamArn", "")}
        case _:
            return {}


def _rule_arn(events: Any, name: str) -> str:
    """A rule's ARN, whichever bus it is on: a rule of the default bus has none in it."""
    buses = [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]
    found = [rule for bus in buses for rule in events.list_rules(NamePrefix=name, EventBusName=bus)["Rules"]]
    return next((rule["Arn"] for rule in found if rule["Name"] == name), "")


def capitalised(value: Any) -> Any:
    """The names of an API's members as CloudFormation writes them."""
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: capitalised(each) for name, each in value.items()}
    if isinstance(value, list):
        return [capitalised(each) for each in value]
    return value


def tags(pairs: dict[str, str]) -> list[dict[str, str]]:
    """Tags as a template lists them, without those that CloudFormation adds."""
    return [{"Key": name, "Value": value} for name, value in pairs.items() if not name.startswith("aws:")]
