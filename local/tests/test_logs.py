"""AWS: log events are read page by page, and log groups listed while functions write."""

from __future__ import annotations

from typing import Any

import pytest
from ministack.services import cloudwatch_logs

from local import logs_paging
from local.tests.conftest import Cloud

EVENTS = 25
# Several at one moment, more than a page has left.
MOMENTS = [1_800_000_000_000 + number // 10 for number in range(EVENTS)]


def pages(logs: Any, group: str, **arguments: Any) -> list[list[str]]:
    found, token = [], {}
    while True:
        page = logs.filter_log_events(logGroupName=group, **arguments, **token)
        found.append([event["message"] for event in page["events"]])
        if "nextToken" not in page:
            return found
        token = {"nextToken": page["nextToken"]}


def test_what_a_page_leaves_out_is_on_the_next(cloud: Cloud, unique: Any) -> None:
    logs, group = cloud.client("logs"), unique("group")
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="stream")
    logs.put_log_events(logGroupName=group, logStreamName="stream", logEvents=[
        {"timestamp": moment, "message": str(number)} for number, moment in enumerate(MOMENTS)])
    texts = [str(number) for number in range(EVENTS)]
    assert pages(logs, group) == [texts]
    assert pages(logs, group, limit=7) == [texts[0:7], texts[7:14], texts[14:21], texts[21:25]]
    assert pages(logs, group, startTime=MOMENTS[10]) == [texts[10:]]


def test_groups_are_listed_while_a_stream_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([RuntimeError("dictionary changed size during iteration"), (200, {}, b"{}")])

    def emulator(_data: dict[str, Any]) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(cloudwatch_logs, "_describe_log_groups", emulator)
    monkeypatch.setattr(cloudwatch_logs, "_filter_log_events", emulator)
    logs_paging.install()
    assert cloudwatch_logs._describe_log_groups({}) == (200, {}, b"{}")
