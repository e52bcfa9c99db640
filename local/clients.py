"""Clients of the emulator, as the account's root."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from local.settings import REGION, ROOT_KEY, ROOT_SECRET


def client(service: str, endpoint: str, credentials: dict[str, str] | None = None) -> Any:
    """A client of one service; `credentials` are those of a role, else root's."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        **(credentials or {"aws_access_key_id": ROOT_KEY, "aws_secret_access_key": ROOT_SECRET}),
        config=Config(retries={"total_max_attempts": 2}, s3={"addressing_style": "path"}),
    )
