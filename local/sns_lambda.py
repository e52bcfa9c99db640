"""A topic invokes a function as AWS does.

AWS rules restored: "Invoking Lambda functions with Amazon SNS notifications":
the function's policy must let sns.amazonaws.com invoke it for the topic; the
invocation is asynchronous, with Lambda's retries and dead-letter queue; the
record has `SigningCertUrl` and `UnsubscribeUrl` (spelled otherwise than over
HTTP), `Subject` and `MessageAttributes` even where there are none, binary
attributes in Base64, and is never raw. The emulator invokes any function once,
in the HTTP form.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from typing import Any

from ministack.core.responses import get_region
from ministack.services import lambda_svc, sns

from local.lambda_permission import service_may_invoke

_logger = logging.getLogger("sns_lambda")


def record(topic_arn: str, subscription_arn: str, message_id: str, message: str, subject: str | None,
           attributes: dict[str, Any]) -> dict[str, Any]:
    """One record of the event."""
    host = f"https://sns.{get_region()}.amazonaws.com"
    return {
        "EventSource": "aws:sns",
        "EventVersion": "1.0",
        "EventSubscriptionArn": subscription_arn,
        "Sns": {
            "Type": "Notification",
            "MessageId": message_id,
            "TopicArn": topic_arn,
            "Subject": subject,
            "Message": message,
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()),
            "SignatureVersion": "1",
            "Signature": "RkFLRQ==",
            "SigningCertUrl": f"{host}/SimpleNotificationService-fake.pem",
            "UnsubscribeUrl": f"{host}/?Action=Unsubscribe&SubscriptionArn={subscription_arn}",
            "MessageAttributes": {name: _attribute(each) for name, each in attributes.items()},
        },
    }


def _attribute(given: dict[str, Any]) -> dict[str, str]:
    value = given.get("StringValue", given.get("BinaryValue", ""))
    text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return {"Type": given.get("DataType", "String"), "Value": text}


def _deliver(endpoint: str, envelope: str, topic_arn: str, subscription_arn: str, message_id: str, message: str,
             attributes: dict[str, Any]) -> None:
    function, config, _ = lambda_svc._get_func_record_for_ref(endpoint)
    if config is None or not service_may_invoke(endpoint, "sns.amazonaws.com", topic_arn):
        _logger.warning("not delivered: %s may not invoke %s", topic_arn, endpoint)
        return
    try:
        subject = json.loads(envelope).get("Subject")
    except (ValueError, AttributeError):
        # A raw subscription's envelope is the message itself.
        subject = None
    event = {"Records": [record(topic_arn, subscription_arn, message_id, message, subject, attributes)]}
    lambda_svc.invoke_async_with_retry(lambda_svc._execution_record_for_config(function, config), event)


def install() -> None:
    """Take over deliveries to functions."""
    sns._deliver_to_lambda = _deliver
