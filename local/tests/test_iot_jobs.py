"""AWS: what a device may do with a job, and what time does to one."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from ministack.core.responses import request_scope
from ministack.services import iot

from local import iot_jobs_details, iot_jobs_time
from local.settings import ACCOUNT, REGION
from local.tests.iot_refusals import refused
from local.tests.mqtt_device import Device, allow_all, new_identity

DOCUMENT = json.dumps({"version": "1.0"})


def minutes_ahead(minutes: float) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M")


class Light(Device):
    """A device that speaks of its jobs."""

    def ask(self, verb: str, job: str, message: dict | None = None) -> tuple[bool, dict]:
        """An answer to a request, and whether it was accepted."""
        asked = f"$aws/things/{self.client_id}/jobs/{job}/{verb}"
        assert self.publish(asked, {"clientToken": "t", **(message or {})})
        while True:
            topic, answer = self.receive()
            if topic.startswith(f"{asked}/"):
                assert answer["clientToken"] == "t"
                return topic.endswith("/accepted"), answer


@pytest.fixture
def light(cloud, unique, tmp_path):
    thing, identity = unique("light"), new_identity(cloud, tmp_path)
    allow_all(cloud, unique("all"), identity.arn)
    cloud.client("iot").create_thing(thingName=thing)
    with Light(cloud, thing, identity) as device:
        assert device.connect()
        for rest in ("notify-next", "+/get/+", "+/update/+"):
            assert device.subscribe(f"$aws/things/{thing}/jobs/{rest}")
        yield device


@pytest.fixture
def new_job(cloud, light, unique):
    def create(**more) -> str:
        job = unique("job")
        target = f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{light.client_id}"
        cloud.client("iot").create_job(jobId=job, targets=[target], document=DOCUMENT, **more)
        return job

    return create


def test_an_execution_from_its_notification_to_its_end(light, new_job):
    job = new_job()
    topic, told = light.receive()
    assert topic.endswith("/jobs/notify-next")
    assert (told["execution"]["jobId"], told["execution"]["status"]) == (job, "QUEUED")
    accepted, answer = light.ask("get", "$next")
    assert accepted
    # To be asked for does not begin it.
    assert (answer["execution"]["status"], answer["execution"]["versionNumber"]) == ("QUEUED", 1)
    accepted, _ = light.ask("update", job, {"status": "IN_PROGRESS", "expectedVersion": 1, "executionNumber": 1})
    assert accepted
    accepted, answer = light.ask("update", job, {"status": "SUCCEEDED", "expectedVersion": 1})
    assert (accepted, answer["code"]) == (False, "VersionMismatch")
    assert answer["executionState"] == {"status": "IN_PROGRESS", "versionNumber": 2}
    accepted, answer = light.ask("update", job, {"status": "SUCCEEDED", "executionNumber": 2})
    assert (accepted, answer["code"]) == (False, "ResourceNotFound")
    accepted, _ = light.ask("update", job, {"status": "SUCCEEDED", "expectedVersion": 2})
    assert accepted
    accepted, answer = light.ask("update", job, {"status": "SUCCEEDED"})
    assert (accepted, answer["code"]) == (False, "InvalidStateTransition")
    assert answer["executionState"]["status"] == "SUCCEEDED"
    accepted, answer = light.ask("get", job, {"executionNumber": 1})
    assert (accepted, answer["code"]) == (False, "TerminalStateReached")
    accepted, answer = light.ask("get", "$next")
    assert accepted and "execution" not in answer


def test_a_device_that_refuses_a_job_has_not_begun_it(cloud, light, new_job):
    job = new_job()
    assert light.ask("update", job, {"status": "REJECTED"})[0]
    found = cloud.client("iot").describe_job_execution(jobId=job, thingName=light.client_id)["execution"]
    assert found["status"] == "REJECTED" and "startedAt" not in found


def test_a_cancelled_execution_is_told_and_over(cloud, light, new_job):
    job = new_job()
    assert light.ask("update", job, {"status": "IN_PROGRESS"})[0]
    iot_client = cloud.client("iot")
    with refused("InvalidStateTransitionException"):
        iot_client.cancel_job_execution(jobId=job, thingName=light.client_id)
    iot_client.cancel_job(jobId=job, force=True)
    while not (told := light.receive())[0].endswith("/notify-next"):
        pass
    assert "execution" not in told[1]
    accepted, answer = light.ask("update", job, {"status": "SUCCEEDED"})
    assert (accepted, answer["code"]) == (False, "InvalidStateTransition")


@pytest.mark.parametrize("details", [{"a b": "x"}, {"n" * 129: "x"}, {"n": "x" * 1025}, {"n": "two\nlines"}, {"n": ""}])
def test_status_details_have_limits(light, new_job, details):
    job = new_job()
    accepted, answer = light.ask("update", job, {"status": "IN_PROGRESS", "statusDetails": details})
    assert (accepted, answer["code"]) == (False, "InvalidRequest")


def test_the_longest_status_details_are_taken():
    assert iot_jobs_details._beyond_limits({"n" * 128: "é" * 1024, "a:b_c-1": "…"}) is None


@pytest.mark.parametrize("schedule", [
    {"endTime": minutes_ahead(28)},
    {"endTime": minutes_ahead(3 * 366 * 24 * 60)},
    {"startTime": minutes_ahead(60), "endTime": minutes_ahead(80)},
    {"endBehavior": "CANCEL"},
])
def test_an_end_lies_half_an_hour_ahead(new_job, schedule):
    with refused("InvalidRequestException"):
        new_job(schedulingConfig=schedule)


def test_an_end_half_an_hour_ahead_is_taken(new_job):
    new_job(schedulingConfig={"endTime": minutes_ahead(32), "endBehavior": "FORCE_CANCEL"})


def test_a_job_of_that_name_is_there_already(cloud, light, new_job):
    job = new_job()
    target = f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{light.client_id}"
    with refused("ResourceAlreadyExistsException"):
        cloud.client("iot").create_job(jobId=job, targets=[target], document=DOCUMENT)


def test_a_job_that_has_ended_cannot_be_cancelled_and_one_at_work_is_deleted_by_force(cloud, light, new_job):
    job, iot_client = new_job(), cloud.client("iot")
    with refused("InvalidStateTransitionException"):
        iot_client.delete_job(jobId=job)
    assert light.ask("update", job, {"status": "SUCCEEDED"})[0]
    with refused("InvalidRequestException"):
        iot_client.cancel_job(jobId=job, force=True)
    iot_client.delete_job(jobId=job, force=True)
    with refused("ResourceNotFoundException"):
        iot_client.describe_job(jobId=job)


_NUMBERS = itertools.count(1)


def after(minutes: int, status: str, monkeypatch, **more) -> str:
    """As what an execution that is in this status now stands so many minutes later."""
    thing, job = f"timed-{next(_NUMBERS)}", f"timed-job-{next(_NUMBERS)}"

    async def live() -> str:
        with request_scope(ACCOUNT, REGION):
            iot._things[thing] = {"thingName": thing}
            target = f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{thing}"
            made = await iot._create_job(job, {"targets": [target], "document": DOCUMENT, **more})
            assert made[0] == 200, made
            execution = iot._job_executions[(thing, job)]
            if status == "IN_PROGRESS":
                iot.jobs_start_next_execution(thing)
            then = iot._jobs_now_ms() + minutes * 60_000
            monkeypatch.setattr(iot, "_jobs_now_ms", lambda: then)
            await iot_jobs_time.pass_time(ACCOUNT, REGION, iot._jobs[job])
            return execution["status"]

    return asyncio.run(live())


TIMEOUT = {"timeoutConfig": {"inProgressTimeoutInMinutes": 5}}


@pytest.mark.parametrize(("minutes", "status", "expected"), [
    (4, "IN_PROGRESS", "IN_PROGRESS"),
    (6, "IN_PROGRESS", "TIMED_OUT"),
    (6, "QUEUED", "QUEUED"),
])
def test_the_timer_runs_while_the_device_is_at_it(monkeypatch, minutes, status, expected):
    assert after(minutes, status, monkeypatch, **TIMEOUT) == expected


@pytest.mark.parametrize(("minutes", "status", "behaviour", "expected"), [
    (29, "QUEUED", "FORCE_CANCEL", "QUEUED"),
    (40, "QUEUED", "STOP_ROLLOUT", "QUEUED"),
    (40, "QUEUED", "CANCEL", "CANCELED"),
    (40, "IN_PROGRESS", "CANCEL", "IN_PROGRESS"),
    (40, "IN_PROGRESS", "FORCE_CANCEL", "CANCELED"),
])
def test_a_job_ends_at_its_end(monkeypatch, minutes, status, behaviour, expected):
    schedule = {"endTime": minutes_ahead(32), "endBehavior": behaviour}
    assert after(minutes, status, monkeypatch, schedulingConfig=schedule) == expected


@pytest.mark.parametrize(("minutes", "status", "more", "expected"), [
    (6, "IN_PROGRESS", TIMEOUT, ["timed_out"]),
    (4, "IN_PROGRESS", TIMEOUT, []),
    (40, "QUEUED", {"schedulingConfig": {"endTime": minutes_ahead(32), "endBehavior": "CANCEL"}}, ["canceled"]),
])
def test_what_time_does_to_an_execution_is_told(monkeypatch, minutes, status, more, expected):
    told = []

    async def publish(_account, _region, topic, _event):
        told.append(topic)

    with request_scope(ACCOUNT, REGION):
        monkeypatch.setitem(iot._event_config, iot._EVENT_CONFIG_KEY, {"enabled": ["JOB_EXECUTION"]})
    monkeypatch.setattr(iot, "_publish_event", publish)
    after(minutes, status, monkeypatch, **more)
    executions = [topic for topic in told if topic.startswith("$aws/events/jobExecution/")]
    assert [topic.rpartition("/")[2] for topic in executions] == expected
