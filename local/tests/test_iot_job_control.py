"""AWS: what a job may be, who may create it, and what is repeated of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config

from local.tests.iot_refusals import refused

DOCUMENT = json.dumps({"version": "1.0"})


@pytest.fixture
def iot(cloud):
    """Without the SDK's own checks, which are not AWS's."""
    return boto3.client(
        "iot", endpoint_url=cloud.endpoint, region_name=cloud.region, aws_access_key_id="test",
        aws_secret_access_key="test", config=Config(parameter_validation=False),
    )


@pytest.fixture
def target(iot, unique):
    return iot.create_thing(thingName=unique("job-thing"))["thingArn"]


def later(**after: int) -> str:
    return (datetime.now(UTC) + timedelta(**after)).strftime("%Y-%m-%dT%H:%M")


def rate(most: int | None, **growing: object) -> dict:
    config = {} if most is None else {"maximumPerMinute": most}
    if growing:
        config["exponentialRate"] = {
            "baseRatePerMinute": 1, "incrementFactor": 1.5,
            "rateIncreaseCriteria": {"numberOfNotifiedThings": 10}, **growing,
        }
    return {"jobExecutionsRolloutConfig": config}


def retries(*criteria: tuple[str, int]) -> dict:
    listed = [{"failureType": kind, "numberOfRetries": times} for kind, times in criteria]
    return {"jobExecutionsRetryConfig": {"criteriaList": listed}}


@pytest.mark.parametrize(("more", "refusal"), [
    ({}, None),
    ({"document": json.dumps({"x": "y" * 32_759})}, None),
    # One character of two bytes is one byte too many.
    ({"document": json.dumps({"x": "y" * 32_758 + "ü"}, ensure_ascii=False)}, "LimitExceededException"),
    (rate(1000), None),
    (rate(1001), "InvalidRequestException"),
    (rate(10, incrementFactor=5), None),
    (rate(10, incrementFactor=5.1), "InvalidRequestException"),
    (rate(10, baseRatePerMinute=11), "InvalidRequestException"),
    (rate(None, incrementFactor=2), "InvalidRequestException"),
    (retries(("ALL", 10)), None),
    (retries(("FAILED", 1), ("TIMED_OUT", 2)), None),
    (retries(("ALL", 11)), "InvalidRequestException"),
    (retries(("ALL", 1), ("FAILED", 1)), "InvalidRequestException"),
    ({"schedulingConfig": {"startTime": later(minutes=31)}}, None),
    ({"schedulingConfig": {"startTime": later(minutes=5)}}, "InvalidRequestException"),
    ({"schedulingConfig": {"startTime": later(days=370)}}, "InvalidRequestException"),
])
def test_what_a_job_may_be(iot, target, unique, more, refusal):
    request = {"jobId": unique("job"), "targets": [target], "document": DOCUMENT, **more}
    if refusal:
        with refused(refusal):
            iot.create_job(**request)
    else:
        iot.create_job(**request)


def test_a_job_has_at_most_a_hundred_targets(iot, unique):
    arns = [iot.create_thing(thingName=unique("job-many"))["thingArn"] for _ in range(101)]
    iot.create_job(jobId=unique("job"), targets=arns[:100], document=DOCUMENT)
    with refused("LimitExceededException"):
        iot.create_job(jobId=unique("job"), targets=arns, document=DOCUMENT)


@pytest.mark.parametrize("kind", ["ALL", "FAILED"])
def test_what_failed_is_repeated_as_often_as_is_said(cloud, iot, target, unique, kind):
    job, thing = unique("job"), target.rpartition("/")[2]
    iot.create_job(jobId=job, targets=[target], document=DOCUMENT, **retries((kind, 1)))
    data = cloud.client("iot-jobs-data")
    execution = {"jobId": job, "thingName": thing}
    for number, status in [(1, "QUEUED"), (2, "FAILED")]:
        data.update_job_execution(**execution, status="FAILED")
        seen = iot.describe_job_execution(**execution)["execution"]
        assert (seen["executionNumber"], seen["status"]) == (2, status), number
    counts = iot.describe_job(jobId=job)["job"]
    assert (counts["status"], counts["jobProcessDetails"]["numberOfFailedThings"]) == ("COMPLETED", 2)


def test_a_time_out_is_not_repeated_for_failures_only(cloud, iot, target, unique):
    job = unique("job")
    iot.create_job(jobId=job, targets=[target], document=DOCUMENT, **retries(("TIMED_OUT", 3)))
    data = cloud.client("iot-jobs-data")
    data.update_job_execution(jobId=job, thingName=target.rpartition("/")[2], status="FAILED")
    assert iot.describe_job(jobId=job)["job"]["status"] == "COMPLETED"


def test_creating_a_job_is_allowed_by_job_target_and_role(cloud, iot, target, unique):
    job = unique("job")
    ours = f"arn:aws:iot:{cloud.region}:{cloud.account}:job/{job}"
    role = f"arn:aws:iam::{cloud.account}:role/presign"
    request = {
        "jobId": job, "targets": [target], "document": DOCUMENT,
        "presignedUrlConfig": {"roleArn": role, "expiresInSec": 60},
    }
    create = {"Effect": "Allow", "Action": "iot:CreateJob"}
    passing = {
        "Effect": "Allow", "Action": "iam:PassRole", "Resource": role,
        "Condition": {"StringEquals": {"iam:PassedToService": "iot.amazonaws.com"}},
    }
    for statements in (
        [{**create, "Resource": ours}, passing],
        [{**create, "Resource": target}, passing],
        [{**create, "Resource": [ours, target]}],
    ):
        with refused("AccessDeniedException"):
            cloud.as_role(unique("role"), statements)("iot").create_job(**request)
    cloud.as_role(unique("role"), [{**create, "Resource": [ours, target]}, passing])("iot").create_job(**request)
