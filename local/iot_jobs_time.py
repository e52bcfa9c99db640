"""What time does to jobs.

AWS IoT API Reference, `SchedulingConfig`: a job starts 30 minutes to a year
ahead; its end lies 30 minutes ahead at least and two years at most, and 30
minutes after its start at least; `endBehavior` belongs to an end. AWS IoT Core
Developer Guide, "How job configurations work": at its end a job stops its
rollout, or is cancelled, with FORCE_CANCEL also where devices are at it; an
execution that has been IN_PROGRESS for too long becomes TIMED_OUT, and its
device is told what is next.

The emulator takes any start and any end, does nothing at an end, and looks at
the timer of an execution only when somebody reads it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import iot

from local.iot_answers import invalid
from local.iot_routes import Response

LEAST = timedelta(minutes=30)
MOST = timedelta(days=731)
LATEST_START = timedelta(days=365)
BEHAVIOURS = ("STOP_ROLLOUT", "CANCEL", "FORCE_CANCEL")
LOOK_EVERY_SECONDS = 1.0

# The event loop holds its tasks weakly.
_watches: set[asyncio.Task] = set()


def install() -> None:
    create = iot._create_job

    async def create_job(job_id: str, payload: dict[str, Any]) -> Response:
        refusal = schedule_refusal(payload.get("schedulingConfig") or {})
        if refusal is not None:
            return refusal
        answer = await create(job_id, payload)
        if answer[0] == 200:
            task = asyncio.get_running_loop().create_task(_watch(get_account_id(), get_region(), iot._jobs[job_id]))
            _watches.add(task)
            task.add_done_callback(_watches.discard)
        return answer

    iot._create_job = create_job


def schedule_refusal(schedule: dict[str, Any]) -> Response | None:
    """Why AWS would not take a schedule. A time it cannot read is the emulator's to refuse."""
    end, behaviour = schedule.get("endTime"), schedule.get("endBehavior")
    if behaviour is not None and (end is None or behaviour not in BEHAVIOURS):
        return invalid("endBehavior takes an endTime, and is one of " + ", ".join(BEHAVIOURS))
    now, starts, ends = _now(), _moment(schedule.get("startTime")), _moment(end)
    # Times have no seconds: the minute that has begun counts.
    if starts and not now.replace(second=0, microsecond=0) + LEAST <= starts <= now + LATEST_START:
        return invalid("startTime must be 30 minutes to one year from now")
    if ends is None:
        return None
    if ends - (starts or now) < LEAST:
        return invalid("endTime must be scheduled a minimum of thirty minutes from the current time and startTime")
    if ends - now > MOST:
        return invalid("endTime must be within two years of the current time")
    return None


async def _watch(account: str, region: str, job: dict[str, Any]) -> None:
    """Has time do its work on a job, for as long as there is any left."""
    while await pass_time(account, region, job):
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def pass_time(account: str, region: str, job: dict[str, Any]) -> bool:
    """Does what is due by now; whether more may become due."""
    async with iot.publishing_events():
        with request_scope(account, region):
            left, before = _pass_time(job)
        for thing, first in before.items():
            await iot.jobs_notify_thing(account, region, thing, first)
    return left


def _pass_time(job: dict[str, Any]) -> tuple[bool, dict[str, str]]:
    """Whether more may become due, and which job was first for each thing that may have another first now."""
    job_id = job["jobId"]
    if iot._jobs.get(job_id) is not job:
        return False, {}
    running = [one for one in iot._job_executions.values()
               if one["jobId"] == job_id and one["status"] == "IN_PROGRESS"]
    # Whose executions end: each was next for its device, being at work.
    due = [one["thingName"] for one in running if iot._jobs_seconds_before_timeout(one) == 0]
    before = {thing: job_id for thing in due}
    for one in running:
        iot._jobs_apply_timeout(one)
    schedule = job.get("schedulingConfig") or {}
    ends, behaviour = _moment(schedule.get("endTime")), schedule.get("endBehavior")
    over = ends is not None and ends <= _now() and job["status"] == "IN_PROGRESS"
    if over and behaviour in ("CANCEL", "FORCE_CANCEL"):
        before |= iot._jobs_cancel(job_id, {"reasonCode": "END_TIME"}, behaviour == "FORCE_CANCEL")
    left = job["status"] == "IN_PROGRESS" or any(one["status"] == "IN_PROGRESS" for one in running)
    return left, before


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return None


def _now() -> datetime:
    return datetime.fromtimestamp(iot._jobs_now_ms() / 1000, UTC)
