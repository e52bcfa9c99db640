"""Which encryption a bucket's policy lets an object be put with."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from local.tests.conftest import policy_document


def test_a_bucket_policy_can_insist_on_one_key(cloud, unique):
    s3, kms, bucket = cloud.client("s3"), cloud.client("kms"), unique("custody")
    ours, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy_document([{
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {
            "Null": {"s3:x-amz-server-side-encryption": "false"},
            "StringNotEquals": {"s3:x-amz-server-side-encryption-aws-kms-key-id": ours},
        },
    }]))
    role = cloud.as_role(unique("writer"), [
        {"Effect": "Allow", "Action": ["s3:PutObject", "kms:GenerateDataKey"], "Resource": "*"},
    ])("s3")

    def put(**encryption: str) -> None:
        role.put_object(Bucket=bucket, Key=unique("object"), Body=b"x", **encryption)

    put()
    put(ServerSideEncryption="aws:kms", SSEKMSKeyId=ours)
    for refused in ({"SSEKMSKeyId": other, "ServerSideEncryption": "aws:kms"}, {"ServerSideEncryption": "AES256"}):
        with pytest.raises(ClientError, match="AccessDenied"):
            put(**refused)
