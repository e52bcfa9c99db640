"""Whoever reads or writes an object under a KMS key must be allowed to use the key.

AWS rule restored: "Using server-side encryption with AWS KMS keys
(SSE-KMS)": a PutObject needs `kms:GenerateDataKey`, a GetObject
`kms:Decrypt`, through S3 (`kms:ViaService`) and under the context
`aws:s3:arn`, which is the bucket where it has a bucket key, else the object.
The emulator never asks.

"Actions, resources, and condition keys for Amazon S3": a policy on PutObject can
look at the key that the request names, as
`s3:x-amz-server-side-encryption-aws-kms-key-id`. The emulator's policies see the
kind of encryption only.
"""

from __future__ import annotations

import re
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import kms, s3

from local.kms_conditions import kms_context

KEY_HEADER = "x-amz-server-side-encryption-aws-kms-key-id"
OBJECT_ARN = re.compile(r"^arn:aws:s3:::([^/]+)/(.+)$", re.DOTALL)
NEEDS = {
    "s3:PutObject": "kms:GenerateDataKey",
    "s3:GetObject": "kms:Decrypt",
    "s3:GetObjectVersion": "kms:Decrypt",
}


def _key_of(action: str, bucket: str, object_key: str) -> str | None:
    """The ARN of the KMS key that the request would use, if any."""
    if action == "s3:PutObject":
        named = s3._bucket_default_sse_headers(bucket).get(KEY_HEADER)
    else:
        stored = (s3._buckets.get(bucket) or {}).get("objects", {}).get(object_key) or {}
        named = (stored.get("preserved_headers") or {}).get(KEY_HEADER)
    if not named:
        return None
    record = kms._resolve_key(named)
    return record["Arn"] if record else named


def _has_bucket_key(bucket: str) -> bool:
    return "<BucketKeyEnabled>true</BucketKeyEnabled>" in (s3._bucket_encryption.get(bucket) or "")


def _enforce(access_key: str, action: str, service: str, region: str, resource_arn: str = "*",
             service_context: dict[str, Any] | None = None) -> Any:
    denied = _emulator_enforce(access_key, action, service, region, resource_arn=resource_arn,
                               service_context=service_context)
    target = OBJECT_ARN.match(resource_arn) if action in NEEDS else None
    if denied or target is None:
        return denied
    bucket, object_key = target[1], target[2]
    key = _key_of(action, bucket, object_key)
    if key is None:
        return None
    context = f"arn:aws:s3:::{bucket}" if _has_bucket_key(bucket) else resource_arn
    # Asked as a request of its own, so that other patches see it, too.
    return iam_evaluator.enforce(
        access_key, NEEDS[action], "kms", region, resource_arn=key,
        service_context=kms_context({"aws:s3:arn": context}, via_service=f"s3.{region}.amazonaws.com"))


def _context_with_key(iam_action: str, query_params: dict | None, path: str = "",
                      headers: dict | None = None) -> dict:
    context = _emulator_context(iam_action, query_params, path, headers)
    named = (headers or {}).get(KEY_HEADER)
    return {**context, f"s3:{KEY_HEADER}": named} if named and iam_action == "s3:PutObject" else context


def install() -> None:
    """Ask for the key after the object itself is allowed."""
    global _emulator_enforce
    iam_actions.s3_service_context = _context_with_key
    _emulator_enforce = iam_evaluator.enforce
    iam_evaluator.enforce = _enforce


_emulator_enforce = iam_evaluator.enforce
_emulator_context = iam_actions.s3_service_context
