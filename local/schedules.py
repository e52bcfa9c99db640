"""Schedules that a stack makes, and a test fires.

AWS rules restored: "AWS::Scheduler::Schedule": all of its properties are kept,
and what CreateSchedule refuses fails the stack; CreateSchedule refuses a role
that scheduler.amazonaws.com cannot assume. "Adding context attributes in
EventBridge Scheduler": `<aws.scheduler.schedule-arn>`,
`<aws.scheduler.scheduled-time>`, `<aws.scheduler.execution-id>` and
`<aws.scheduler.attempt-number>` in the input have values. The emulator drops
half of the properties and every refusal, and takes any role.

For tests only: `GET /_lamplighter/schedules` lists schedules and scheduled rules,
and `POST /_lamplighter/schedules` `{"arn": ...}` fires one now, whatever its
expression says, and tells for each target why it was not delivered, if it was
not. One that is disabled is not fired.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import new_uuid, request_scope
from ministack.services import eventbridge, iam, scheduler

from local import control
from local.cfn_handlers import accepted, after_create_and_update
from local.event_targets import is_schedule, refusal
from local.settings import ACCOUNT, REGION

SERVICE = "scheduler.amazonaws.com"
PROPERTIES = ("ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target", "State", "Description",
              "StartDate", "EndDate", "KmsKeyArn", "GroupName")
NUMBERS = ("MaximumWindowInMinutes", "MaximumRetryAttempts", "MaximumEventAgeInSeconds")


def install() -> None:
    global _emulator_create, _emulator_update
    _emulator_create, scheduler._create_schedule = scheduler._create_schedule, _create_schedule
    _emulator_update, scheduler._update_schedule = scheduler._update_schedule, _update_schedule
    inner = eventbridge._invoke_target

    def invoke_target(target: dict[str, Any], event: dict[str, Any], source: dict[str, Any], view: Any = None) -> None:
        inner(_with_attributes(target, source, event) if is_schedule(source) else target, event, source, view)

    eventbridge._invoke_target = invoke_target
    after_create_and_update("AWS::Scheduler::Schedule", _apply_properties)
    control.extend("GET", "schedules", lambda _body: (200, _listed()))
    control.extend("POST", "schedules", _fire)


def _create_schedule(name: str, body: dict[str, Any]) -> tuple:
    return _role_refusal(body) or _emulator_create(name, body)


def _update_schedule(name: str, body: dict[str, Any]) -> tuple:
    return _role_refusal(body) or _emulator_update(name, body)


def _role_refusal(body: dict[str, Any]) -> tuple | None:
    role = iam._roles.get(((body.get("Target") or {}).get("RoleArn") or "").rsplit("/", 1)[-1])
    if role is not None and SERVICE in str(role["AssumeRolePolicyDocument"]):
        return None
    return scheduler._error(
        400, "ValidationException",
        "The execution role you provide must allow AWS EventBridge Scheduler to assume the role.")


def _apply_properties(name: str, props: dict[str, Any]) -> None:
    """Put all properties through UpdateSchedule; one that was refused at its creation is made here, or refused again."""
    body = {property_name: _typed(props[property_name]) for property_name in PROPERTIES if property_name in props}
    put = _update_schedule if f"{props.get('GroupName', 'default')}/{name}" in scheduler._schedules else _create_schedule
    accepted(put(name, body), "AWS::Scheduler::Schedule")


def _typed(value: Any) -> Any:
    """Numbers of a template, which may be text."""
    if not isinstance(value, dict):
        return value
    return {name: int(each) if name in NUMBERS else _typed(each) for name, each in value.items()}


def _with_attributes(target: dict[str, Any], schedule: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
    text = target.get("Input")
    if not text:
        return target
    moment = datetime.fromtimestamp(event["Time"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, value in (("schedule-arn", schedule["Arn"]), ("scheduled-time", moment),
                        ("execution-id", event["EventId"]), ("attempt-number", "1")):
        text = text.replace(f"<aws.scheduler.{name}>", value)
    return {**target, "Input": text}


def _sources() -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each schedule and each scheduled rule, with its targets."""
    schedules = [(each, [each["Target"]]) for each in scheduler._schedules.values()]
    rules = [(rule, eventbridge._targets.get(key) or []) for key, rule in eventbridge._rules.items()
             if rule.get("ScheduleExpression")]
    return schedules + rules


def _listed() -> list[dict[str, Any]]:
    with request_scope(ACCOUNT, REGION):
        return [
            {"arn": source["Arn"], "name": source["Name"], "expression": source["ScheduleExpression"],
             "state": source.get("State", "ENABLED"), "targets": [target["Arn"] for target in targets]}
            for source, targets in _sources()
        ]


def _fire(body: dict[str, Any]) -> tuple[int, Any]:
    with request_scope(ACCOUNT, REGION):
        found = [(source, targets) for source, targets in _sources() if source["Arn"] == body.get("arn")]
        if not found:
            return 404, {"message": f"there is no schedule {body.get('arn')}"}
        source, targets = found[0]
        if source.get("State", "ENABLED") != "ENABLED":
            return 409, {"message": "it is disabled"}
        event = {
            "EventId": new_uuid(), "Source": "aws.scheduler" if is_schedule(source) else "aws.events",
            "DetailType": "Scheduled Event", "Detail": "{}", "EventBusName": source.get("EventBusName", "default"),
            "Time": time.time(), "Resources": [source["Arn"]], "Account": ACCOUNT, "Region": REGION,
        }
        outcomes = [{"target": target["Arn"], "refusal": refusal(target, source)} for target in targets]
        for target in targets:
            eventbridge._invoke_target(target, event, source)
    return 200, {"deliveries": outcomes}


_emulator_create = scheduler._create_schedule
_emulator_update = scheduler._update_schedule
