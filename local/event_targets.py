"""Whether an event may reach its target.

AWS rules restored: "Using resource-based policies for Amazon EventBridge" and
"Permissions for EventBridge to access targets using IAM roles": a rule invokes a
function, sends to a queue, or publishes to a topic only if the target's own
policy lets events.amazonaws.com do it for the rule, and starts a state machine
only as a role that may. "Setting up the execution role" of EventBridge
Scheduler: a schedule reaches any target as its role. What does not arrive goes
to the target's dead-letter queue, if that may be sent to. An asynchronous
invocation is retried as Lambda retries. The emulator asks nobody, and drops
what it cannot deliver.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from ministack.core.arn import parse_arn
from ministack.core.responses import get_account_id
from ministack.services import eventbridge, lambda_svc, sns, sqs, stepfunctions

from local.lambda_permission import service_may_invoke
from local.roles import role_allows

EVENTS = "events.amazonaws.com"
ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "states": "states:StartExecution",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "events": "events:PutEvents",
}

_logger = logging.getLogger("event_targets")


def refusal(target: dict[str, Any], source: dict[str, Any]) -> str | None:
    """Why what `source`, a rule or a schedule, sends does not reach the target; None when it does."""
    arn = target.get("Arn", "")
    service = arn.split(":")[2] if arn.count(":") >= 5 else ""
    if service not in ACTIONS:
        return None
    if service == "lambda" and lambda_svc._get_func_record_for_ref(arn)[1] is None:
        return f"there is no function {arn}"
    if service == "states" and stepfunctions._resolve_state_machine_arn(arn) is None:
        return f"there is no state machine {arn}"
    if _allowed(service, arn, target.get("RoleArn"), source):
        return None
    return f"{source['Arn']} may not {ACTIONS[service]} on {arn}"


def is_schedule(source: dict[str, Any]) -> bool:
    """Whether this is a schedule of EventBridge Scheduler, not a rule."""
    return "FlexibleTimeWindow" in source


def _allowed(service: str, arn: str, role: str | None, source: dict[str, Any]) -> bool:
    if is_schedule(source) or service == "states":
        return role is not None and role_allows(role, ACTIONS[service], arn)
    match service:
        case "lambda":
            return service_may_invoke(arn, EVENTS, source["Arn"])
        case "sqs":
            return sqs.queue_policy_allows(arn, EVENTS, source["Arn"], get_account_id())
        case "sns":
            return sns.topic_policy_allows(arn, EVENTS, source["Arn"], get_account_id())
        case _:
            return role is None or role_allows(role, ACTIONS[service], arn)


def _invoke_target(target: dict[str, Any], event: dict[str, Any], source: dict[str, Any], view: Any = None) -> None:
    reason = refusal(target, source)
    if reason is None:
        _emulator_invoke_target(target, event, source, view)
        return
    _logger.warning("not delivered: %s", reason)
    queue = (target.get("DeadLetterConfig") or {}).get("Arn")
    if queue and _allowed("sqs", queue, target.get("RoleArn"), source):
        payload = target.get("Input") or json.dumps((view or eventbridge._pattern_event_view(event)).event_with_detail())
        eventbridge._dispatch_to_sqs(parse_arn(queue), payload, {})


def _dispatch_to_lambda(arn: str, payload: str) -> None:
    function, config, _ = lambda_svc._get_func_record_for_ref(arn)
    if config is not None:
        lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), json.loads(payload))


def install() -> None:
    """Ask before each delivery."""
    eventbridge._invoke_target = _invoke_target
    eventbridge._dispatch_to_lambda = _dispatch_to_lambda


_emulator_invoke_target = eventbridge._invoke_target
