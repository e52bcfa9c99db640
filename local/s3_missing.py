"""Whoever may not list a bucket is not told that an object is missing.

AWS rule restored: GetObject and HeadObject ("Permissions" in their
references): for an object that does not exist the answer is 404 with
`s3:ListBucket` on the bucket and 403 without. The emulator always answers 404.
"""

from __future__ import annotations

from typing import Any

from ministack.core import iam_evaluator
from ministack.services import s3

from local.s3_kms import OBJECT_ARN


def _enforce(access_key: str, action: str, service: str, region: str, resource_arn: str = "*",
             service_context: dict[str, Any] | None = None) -> Any:
    denied = _emulator_enforce(access_key, action, service, region, resource_arn=resource_arn,
                               service_context=service_context)
    target = OBJECT_ARN.match(resource_arn) if action == "s3:GetObject" else None
    if denied or target is None or target[1] not in s3._buckets or target[2] in s3._buckets[target[1]]["objects"]:
        return denied
    # Asked as a request of its own, so that other patches see it, too.
    return iam_evaluator.enforce(access_key, "s3:ListBucket", service, region,
                                 resource_arn=f"arn:aws:s3:::{target[1]}", service_context=service_context)


def install() -> None:
    """Ask for leave to list after the object itself is allowed."""
    global _emulator_enforce
    _emulator_enforce, iam_evaluator.enforce = iam_evaluator.enforce, _enforce


_emulator_enforce = iam_evaluator.enforce
