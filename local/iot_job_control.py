"""What AWS IoT Jobs refuses to create, and what it repeats by itself.

AWS rules restored: "AWS IoT Device Management endpoints and quotas" (a job has
at most 100 targets, its document at most 32,768 bytes); `CreateJob`, AWS
IoT API Reference (rates, retries and presigned URLs within their bounds);
"Specify job configurations" (an execution that failed or timed out is queued
again, as the next by number, as often as the job's retries say); "Granting
permissions to pass a role" (whoever names a role for presigned URLs has to be
allowed to pass it).

The emulator checks none of these when a job is created.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iot

from local import iot_iam
from local.iot_answers import invalid, limit_exceeded
from local.iot_iam import Call
from local.iot_routes import Response

MAX_TARGETS = 100
MAX_DOCUMENT_BYTES = 32_768

_CONFIGURED = ("presignedUrlConfig", "jobExecutionsRolloutConfig", "jobExecutionsRetryConfig", "timeoutConfig")


class PassedRole(str):
    """The ARN of a role that a request hands over."""


def _passed_role(call: Call) -> list[str]:
    arn = (call.body.get("presignedUrlConfig") or {}).get("roleArn")
    return [PassedRole(arn)] if arn else []


def install() -> None:
    global _emulator_enforce
    iot_iam.ACTIONS["CreateJob"] += (_passed_role,)
    _emulator_enforce, iam_evaluator.enforce = iam_evaluator.enforce, _enforce
    create = iot._create_job

    async def create_job(job_id: str, payload: dict) -> Response:
        return _refusal(job_id, payload) or await create(job_id, payload)

    iot._create_job = create_job
    tell = iot._job_execution_event

    def execution_event(execution: dict, status: str | None = None, force_canceled: bool | None = None) -> None:
        tell(execution, status, force_canceled)
        if status is None:
            _repeat(execution)

    iot._job_execution_event = execution_event


def _enforce(access_key: str, action: str, service: str, region: str, resource_arn: str = "*",
             service_context: dict[str, Any] | None = None) -> Any:
    if isinstance(resource_arn, PassedRole):
        action, service_context = "iam:PassRole", {"iam:PassedToService": "iot.amazonaws.com"}
    return _emulator_enforce(access_key, action, service, region, resource_arn=resource_arn,
                             service_context=service_context)


def _refusal(job_id: str, payload: Mapping[str, Any]) -> Response | None:
    if len(payload.get("targets") or []) > MAX_TARGETS:
        return limit_exceeded(f"A job has at most {MAX_TARGETS} targets")
    document = payload.get("document")
    if isinstance(document, str) and len(document.encode()) > MAX_DOCUMENT_BYTES:
        return limit_exceeded(f"Job document exceeds size limit {MAX_DOCUMENT_BYTES} bytes.")
    configured = {name: payload[name] for name in _CONFIGURED if payload.get(name) is not None}
    retries = (configured.get("jobExecutionsRetryConfig") or {}).get("criteriaList") or []
    if len(retries) > 1 and any(criterion.get("failureType") == "ALL" for criterion in retries):
        return invalid("A retryCriteria with failure type ALL must be used by itself.")
    return iot._job_update_request_error(job_id, configured) if configured else None


def _repeat(execution: dict[str, Any]) -> None:
    """Queue an execution again that has failed, before its job would be complete."""
    job = iot._jobs.get(execution["jobId"])
    if execution["status"] not in ("FAILED", "TIMED_OUT") or not job or job["status"] != "IN_PROGRESS":
        return
    criteria = (job.get("jobExecutionsRetryConfig") or {}).get("criteriaList") or []
    allowed = max(
        (one["numberOfRetries"] for one in criteria if one["failureType"] in ("ALL", execution["status"])), default=0,
    )
    attempt = execution.get("retryAttempt", 0)
    if attempt < allowed:
        thing, job_id = execution["thingName"], execution["jobId"]
        iot._jobs_queue_execution(thing, job_id, iot._jobs_now_ms())
        iot._job_executions[(thing, job_id)]["retryAttempt"] = attempt + 1


_emulator_enforce = iam_evaluator.enforce
