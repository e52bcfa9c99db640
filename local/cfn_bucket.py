"""A bucket gets its encryption, replication, lifecycle and ownership.

AWS rule restored: "AWS::S3::Bucket", properties `BucketEncryption`,
`ReplicationConfiguration`, `LifecycleConfiguration`, `OwnershipControls` and
`Tags`. The emulator drops them. Each is put through the emulator's own S3
call, in the form that the SDK would send it, so that what the call refuses
fails the stack.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import botocore.session
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator
from ministack.services import s3

from local.cfn_handlers import accepted, after_create_and_update, is_true

Request = dict[str, Any]


def encryption_request(prop: Request) -> Request:
    """`BucketEncryption` as PutBucketEncryption has it."""
    rules = []
    for rule in prop["ServerSideEncryptionConfiguration"]:
        put = {"ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"]}
        if "BucketKeyEnabled" in rule:
            put["BucketKeyEnabled"] = is_true(rule["BucketKeyEnabled"])
        rules.append(put)
    return {"ServerSideEncryptionConfiguration": {"Rules": rules}}


def replication_request(prop: Request) -> Request:
    """`ReplicationConfiguration` as PutBucketReplication has it."""
    rules = []
    for rule in prop["Rules"]:
        put = _renamed(rule, {"Id": "ID"})
        if "Priority" in put:
            put["Priority"] = int(put["Priority"])
        if "Filter" in put:
            put["Filter"] = _renamed(put["Filter"], {"TagFilter": "Tag"})
        rules.append(put)
    return {"ReplicationConfiguration": {"Role": prop["Role"], "Rules": rules}}


def lifecycle_request(prop: Request) -> Request:
    """`LifecycleConfiguration` as PutBucketLifecycleConfiguration has it."""
    rules = []
    for rule in prop["Rules"]:
        put = _renamed(rule, {"Id": "ID"})
        put["Filter"] = {"Prefix": put.pop("Prefix", "")}
        if "ExpirationInDays" in put:
            put["Expiration"] = {"Days": int(put.pop("ExpirationInDays"))}
        if is_true(put.pop("ExpiredObjectDeleteMarker", False)):
            put["Expiration"] = {"ExpiredObjectDeleteMarker": True}
        for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
            if name in put:
                put[name] = {field: int(value) for field, value in put[name].items()}
        rules.append(put)
    return {"LifecycleConfiguration": {"Rules": rules}}


# Property, its form in the API, the API's operation, and the emulator's call for it.
SETTINGS: list[tuple[str, Callable[[Request], Request], str, Callable[[str, bytes], tuple]]] = [
    ("BucketEncryption", encryption_request, "PutBucketEncryption", s3._put_bucket_encryption),
    ("OwnershipControls", lambda prop: {"OwnershipControls": prop}, "PutBucketOwnershipControls",
     s3._put_bucket_ownership_controls),
    ("LifecycleConfiguration", lifecycle_request, "PutBucketLifecycleConfiguration", s3._put_bucket_lifecycle),
    ("Tags", lambda prop: {"Tagging": {"TagSet": prop}}, "PutBucketTagging", s3._put_bucket_tagging),
    ("ReplicationConfiguration", replication_request, "PutBucketReplication", s3._put_bucket_replication),
]


def apply_settings(bucket: str, props: Request) -> None:
    """Put each setting that the template names."""
    for name, to_request, operation, put in SETTINGS:
        if name in props:
            accepted(put(bucket, _xml(bucket, operation, to_request(props[name]))), f"AWS::S3::Bucket {name}")


def _renamed(source: Request, names: dict[str, str]) -> Request:
    return {names.get(name, name): value for name, value in source.items()}


@cache
def _service() -> Any:
    return botocore.session.get_session().get_service_model("s3")


def _xml(bucket: str, operation: str, request: Request) -> bytes:
    model = _service().operation_model(operation)
    request = {"Bucket": bucket, **request}
    if wrong := ParamValidator().validate(request, model.input_shape).generate_report():
        raise ValueError(f"{operation}: {wrong}")
    return create_serializer("rest-xml").serialize_to_request(request, model)["body"]


def install() -> None:
    """Apply the settings after the bucket itself."""
    after_create_and_update("AWS::S3::Bucket", apply_settings)
