"""Whether a role allows what a service does in its name, and sessions of it."""

from __future__ import annotations

import os
import secrets
from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import sts


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


def client_as(role_arn: str, service: str) -> Any:
    """A client that calls the emulator as a session of the role, and is refused what the role may not do."""
    return _client(role_arn, service, get_account_id(), get_region())


@cache
def _client(role_arn: str, service: str, account: str, region: str) -> Any:
    name = role_arn.rsplit("/", 1)[-1]
    access_key, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_hex(20), secrets.token_hex(32)
    sts.register_session(access_key, {
        "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/service",
        "UserId": f"{name}:service",
        "SecretAccessKey": secret,
        "SessionToken": token,
    })
    return boto3.client(
        service, endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name=region, aws_access_key_id=access_key,
        aws_secret_access_key=secret, aws_session_token=token, config=Config(retries={"max_attempts": 0}))
