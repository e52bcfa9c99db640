"""What a topic rule's action may do, and what happens when it may not.

AWS IoT Core Developer Guide, "Lambda", "Republish", "Substitution templates",
"Granting an AWS IoT rule the access it requires" and "Error handling (error
action)": a Lambda function is invoked asynchronously, and only if its policy
lets iot.amazonaws.com invoke it for this rule; other actions run under the
rule's role, which must allow them; a republish topic may hold `${expression}`,
evaluated on the message as it was published, and begins with `$$` for a reserved
topic; an action that cannot be run, a missing function included, makes the
error action run.

The emulator invokes any function without asking and without retries or a
dead-letter queue, passes a missing one over, ignores roles, and republishes to
the template's own text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import iot, lambda_svc

from local.lambda_permission import service_may_invoke

_EXPRESSION = re.compile(r"\$\{([^{}]*)\}")


class ActionFailed(Exception):
    """Why an action was not run; the error action's message carries it."""


@dataclass(frozen=True)
class Message:
    """The message a rule is being run for."""

    topic: str
    payload: bytes
    client_id: str | None


_message: ContextVar[Message] = ContextVar("rule_message")


def install() -> None:
    run, dispatch = iot._run_rule_actions, iot._dispatch_rule_action

    async def run_rule_actions(
        account_id: str, region: str, rule: dict, payload: bytes, topic: str = "", client_id: str | None = None,
    ) -> None:
        token = _message.set(Message(topic, payload or b"", client_id))
        try:
            await run(account_id, region, rule, payload, topic, client_id)
        finally:
            _message.reset(token)

    async def dispatch_rule_action(account_id: str, region: str, rule_name: str, action: dict, event: Any) -> None:
        if "lambda" in action:
            _invoke(account_id, region, rule_name, action["lambda"]["functionArn"], event)
            return
        expanded = _expanded(action)
        with request_scope(account_id, region):
            _check_role(expanded, f"{region}:{account_id}")
        await dispatch(account_id, region, rule_name, expanded, event)

    iot._run_rule_actions = run_rule_actions
    iot._dispatch_rule_action = dispatch_rule_action


def _invoke(account_id: str, region: str, rule_name: str, function_arn: str, event: Any) -> None:
    with request_scope(account_id, region):
        function, config, _ = lambda_svc._get_func_record_for_ref(function_arn)
        if function is None or config is None:
            raise ActionFailed(f"Failed to invoke lambda function. Function not found: {function_arn}")
        if not service_may_invoke(function_arn, "iot.amazonaws.com", iot._topic_rule_arn(rule_name)):
            raise ActionFailed(f"Failed to invoke lambda function. Access denied to {function_arn}")
        lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), event)


def _expanded(action: dict) -> dict:
    republish = action.get("republish")
    if not republish or not isinstance(republish.get("topic"), str):
        return action
    topic = _EXPRESSION.sub(_substitute, republish["topic"])
    return {**action, "republish": {**republish, "topic": topic.removeprefix("$") if topic.startswith("$$") else topic}}


def _substitute(found: re.Match[str]) -> str:
    message = _message.get()
    decoded = iot._rule_message(message.payload)
    value = iot._eval_select_expr(found[1], message.topic, message.payload, decoded, message.client_id)
    text = iot._sql_as_string(value)
    if text is None:
        raise ActionFailed(f"The substitution template {found[0]} is undefined for this message")
    return text


# What each kind of action asks of the rule's role: the IAM action and the resource, as an ARN or the end of one.
_ROLE_NEEDS: Mapping[str, tuple[str, Callable[[dict, str], str]]] = {
    "republish": ("iot:Publish", lambda spec, scope: f"arn:aws:iot:{scope}:topic/{spec['topic']}"),
    "sqs": ("sqs:SendMessage", lambda spec, scope: f"arn:aws:sqs:{scope}:{spec['queueUrl'].rsplit('/', 1)[-1]}"),
    "sns": ("sns:Publish", lambda spec, scope: spec["targetArn"]),
    "dynamoDBv2": (
        "dynamodb:PutItem", lambda spec, scope: f"arn:aws:dynamodb:{scope}:table/{spec['putItem']['tableName']}",
    ),
}


def _check_role(action: dict, scope: str) -> None:
    for kind, (needed, resource) in _ROLE_NEEDS.items():
        spec = action.get(kind)
        if not spec:
            continue
        request = (needed, resource(spec, scope))
        if not iot._provisioning_role_allows(spec.get("roleArn") or "", [request]):
            raise ActionFailed(f"The rule's role {spec.get('roleArn')} does not allow {needed} on {request[1]}")
