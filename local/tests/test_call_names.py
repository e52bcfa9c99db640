"""Operations are named as the SDK names them."""

from __future__ import annotations

import pytest

from local.call_names import operation, signer


@pytest.mark.parametrize(("scope", "method", "path", "query", "headers", "expected"), [
    ("iot", "POST", "/things/lamp-1", "", {}, "CreateThing"),
    ("iot", "GET", "/things/lamp-1", "", {}, "DescribeThing"),
    ("iot", "GET", "/things/lamp-1/principals", "", {}, "ListThingPrincipals"),
    ("iot", "GET", "/things/lamp-1/principals-v2", "", {}, "ListThingPrincipalsV2"),
    ("iot", "GET", "/things/a%2Fprincipals", "", {}, "DescribeThing"),
    ("iot", "PUT", "/thing-groups/addThingToThingGroup", "", {}, "AddThingToThingGroup"),
    ("iot", "POST", "/certificates", "setAsActive=true", {}, "CreateCertificateFromCsr"),
    ("iot", "PUT", "/certificates/abc", "newStatus=INACTIVE", {}, "UpdateCertificate"),
    ("iotdata", "POST", "/topics/lamplighter%2Fclaims%2Fx%2Faccepted", "qos=1", {}, "Publish"),
    ("iotdata", "GET", "/api/things/shadow/ListNamedShadowsForThing/lamp-1", "", {}, "ListNamedShadowsForThing"),
    ("iotdata", "GET", "/things/lamp-1/shadow", "name=a", {}, "GetThingShadow"),
    ("iotdata", "GET", "/retainedMessage/a%2Fb", "", {}, "GetRetainedMessage"),
    ("iotdata", "DELETE", "/connections/lamp-1", "", {}, "DeleteConnection"),
    ("s3", "PUT", "/bucket/keys/a.json", "", {}, "PutObject"),
    ("s3", "PUT", "/bucket/keys/a.json", "x-id=PutObject", {}, "PutObject"),
    ("s3", "PUT", "/bucket/keys/a.json", "", {"x-amz-copy-source": "b/c"}, "CopyObject"),
    ("s3", "PUT", "/bucket/keys/a.json", "partNumber=1&uploadId=x", {}, "UploadPart"),
    ("s3", "GET", "/bucket", "versions&prefix=keys%2F", {}, "ListObjectVersions"),
    ("s3", "POST", "/bucket", "delete", {}, "DeleteObjects"),
    ("s3", "DELETE", "/bucket/keys/a", "versionId=1", {}, "DeleteObject"),
    ("dynamodb", "POST", "/", "", {"x-amz-target": "DynamoDB_20120810.TransactWriteItems"}, "TransactWriteItems"),
    ("IoTSecuredTunneling", "POST", "/", "", {"x-amz-target": "IoTSecuredTunneling.ListTunnels"}, "ListTunnels"),
    ("nothing", "GET", "/a", "", {}, "GET /a"),
])
def test_operation(scope: str, method: str, path: str, query: str, headers: dict[str, str], expected: str) -> None:
    assert operation(scope, method, path, query, headers, b"") == expected


def test_operation_in_a_form() -> None:
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert operation("sts", "POST", "/", "", form, b"Action=GetCallerIdentity&Version=1") == "GetCallerIdentity"


def test_signer() -> None:
    signed = signer({"authorization": "AWS4-HMAC-SHA256 Credential=ASIAX/20260101/us-east-1/iotdata/aws4_request, x"})
    assert signed is not None and (signed.access_key, signed.scope, signed.prefix) == ("ASIAX", "iotdata", "iot")
    assert signer({}) is None
