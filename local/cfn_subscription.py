"""A stack's subscription shows what it is.

AWS rules restored: "GetSubscriptionAttributes": the attributes name topic,
protocol and endpoint, whoever made the subscription; and a subscription to a
topic that is not there fails the stack. In the emulator a stack's subscription
lacks them, and may be to nothing.
"""

from __future__ import annotations

from typing import Any

from ministack.services import sns

from local.cfn_handlers import after_create_and_update


def apply_settings(arn: str, props: dict[str, Any]) -> None:
    """Complete the attributes."""
    found = sns._find_subscription(props.get("TopicArn", ""), arn) if props.get("TopicArn") in sns._topics else None
    if found is None:
        raise ValueError(f"AWS::SNS::Subscription: there is no topic {props.get('TopicArn')}")
    found["attributes"] |= {
        "SubscriptionArn": arn,
        "TopicArn": found["topic_arn"],
        "Protocol": found["protocol"],
        "Endpoint": found["endpoint"],
        "Owner": found["owner"],
    }


def install() -> None:
    after_create_and_update("AWS::SNS::Subscription", apply_settings)
