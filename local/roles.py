"""Whether a role allows what a service does in its name."""

from __future__ import annotations

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region


def role_allows(role_arn: str, action: str, resource_arn: str) -> bool:
    """Whether the role's own policies allow the action."""
    name = role_arn.rsplit("/", 1)[-1]
    context = iam_evaluator.EvalContext(
        principal_arn=f"arn:aws:sts::{get_account_id()}:assumed-role/{name}/service",
        principal_type="AssumedRole",
        principal_account=get_account_id(),
        action=action,
        resource_arn=resource_arn,
        region=get_region(),
    )
    policies = iam_evaluator._gather_role_policies(name, get_account_id())
    return iam_evaluator.evaluate(context, policies).decision == "Allow"
