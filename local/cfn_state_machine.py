"""A state machine keeps its logging and tracing, and writes its log.

AWS rules restored: "AWS::StepFunctions::StateMachine", properties
`LoggingConfiguration` and `TracingConfiguration` (the emulator stores the
first under the template's names, which the API does not know, and drops the
second), and "Logging in CloudWatch Logs": a standard workflow's history
events go to the log group by level, without data unless
`includeExecutionData`.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ministack.services import cloudwatch_logs, stepfunctions

from local.cfn_handlers import after_create_and_update, is_true

# The event types of each level, after "Log levels for Step Functions execution events".
FATAL = ("ExecutionAborted", "ExecutionFailed", "ExecutionTimedOut")
ERROR = ("Failed", "TimedOut", "Aborted")
DATA = ("input", "output", "parameters", "cause")


def apply_settings(arn: str, props: dict[str, Any]) -> None:
    """Store both in the form of the API."""
    machine = stepfunctions._state_machines[arn]
    if logging := props.get("LoggingConfiguration"):
        machine["loggingConfiguration"] = {
            "level": logging.get("Level", "OFF"),
            "includeExecutionData": is_true(logging.get("IncludeExecutionData", False)),
            "destinations": [
                {"cloudWatchLogsLogGroup": {"logGroupArn": each["CloudWatchLogsLogGroup"]["LogGroupArn"]}}
                for each in logging.get("Destinations", [])
            ],
        }
    machine["tracingConfiguration"] = {
        "enabled": is_true((props.get("TracingConfiguration") or {}).get("Enabled", False))}


def logged(level: str, event_type: str) -> bool:
    """Whether an event of this type is logged at this level."""
    match level:
        case "ALL":
            return True
        case "ERROR":
            return event_type.endswith(ERROR)
        case "FATAL":
            return event_type in FATAL
        case _:
            return False


def _log_line(execution: dict[str, Any], event: dict[str, Any], with_data: bool) -> str:
    details = next((value for name, value in event.items() if name.endswith("EventDetails")), {})
    return json.dumps({
        "id": str(event["id"]),
        "type": event["type"],
        "details": {name: value for name, value in details.items() if with_data or name not in DATA},
        "previous_event_id": str(event.get("previousEventId", 0)),
        "event_timestamp": str(int(time.time() * 1000)),
        "execution_arn": execution["executionArn"],
    }, default=str)


def _add_event(execution: dict[str, Any], event_type: str, details: Any = None) -> Any:
    added = _emulator_add_event(execution, event_type, details)
    machine = stepfunctions._state_machines.get(execution.get("stateMachineArn", "")) or {}
    logging = machine.get("loggingConfiguration") or {}
    if logged(logging.get("level", "OFF"), event_type):
        line = _log_line(execution, execution["events"][-1], logging.get("includeExecutionData", False))
        for destination in logging.get("destinations", []):
            _write(destination["cloudWatchLogsLogGroup"]["logGroupArn"], machine["name"], line)
    return added


def _write(group_arn: str, machine: str, line: str) -> None:
    group_name = group_arn.split(":log-group:", 1)[1].removesuffix(":*")
    stream_name = f"states/{machine}/{time.strftime('%Y-%m-%d-%H-%M')}/local"
    if group_name not in cloudwatch_logs._log_groups:
        return
    if stream_name not in cloudwatch_logs._log_groups[group_name]["streams"]:
        cloudwatch_logs._create_log_stream({"logGroupName": group_name, "logStreamName": stream_name})
    cloudwatch_logs._put_log_events({"logGroupName": group_name, "logStreamName": stream_name, "logEvents": [
        {"timestamp": int(time.time() * 1000), "message": line}]})


def install() -> None:
    """Apply the settings after the state machine itself, and log each history event."""
    after_create_and_update("AWS::StepFunctions::StateMachine", apply_settings)
    stepfunctions._add_event = _add_event


_emulator_add_event = stepfunctions._add_event
