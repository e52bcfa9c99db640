"""Findings of Device Defender's audits.

AWS IoT API Reference, "ListAuditFindings": findings by check, task, resource or
time, the latest first, without suppressed ones unless asked for, in pages;
a time range and a task exclude each other. "DescribeAuditFinding". The emulator
has no audits, and here none runs either: findings are planted.

For tests only: `POST /_lamplighter/audit-findings` takes one finding in the
form of the API (times in seconds since 1970; `findingId`, `taskId`, times,
`severity` and `isSuppressed` are made up where they are missing) and answers
it; `DELETE` forgets all.
"""

from __future__ import annotations

import time
from typing import Any

from ministack.core.responses import json_response, new_uuid, request_scope

from local import control, iot_routes
from local.iot_answers import invalid, not_found
from local.iot_routes import Request, Response
from local.iot_stores import new_store
from local.settings import ACCOUNT, REGION

MOST_A_PAGE = 250
USUAL_A_PAGE = 25

_findings = new_store()


def install() -> None:
    iot_routes.control("POST", "/audit/findings", _list)
    iot_routes.control("GET", "/audit/findings/{finding_id}", _describe)
    control.extend("POST", "audit-findings", _plant)
    control.extend("DELETE", "audit-findings", _forget)


def _list(request: Request) -> Response:
    asked = request.body
    if asked.get("taskId") and (asked.get("startTime") or asked.get("endTime")):
        return invalid("You must specify either the startTime and endTime or the taskId, but not both.")
    size, start = int(asked.get("maxResults") or USUAL_A_PAGE), asked.get("nextToken") or "0"
    if not 0 < size <= MOST_A_PAGE or not start.isdigit():
        return invalid("maxResults must be between 1 and 250, and nextToken one that was given")
    found = sorted((each for each in _findings.values() if _fits(each, asked)),
                   key=lambda each: (-each["findingTime"], each["findingId"]))
    end = int(start) + size
    more = {"nextToken": str(end)} if end < len(found) else {}
    return json_response({"findings": found[int(start):end], **more})


def _fits(finding: dict[str, Any], asked: Any) -> bool:
    named = asked.get("resourceIdentifier") or {}
    resource = finding["nonCompliantResource"].get("resourceIdentifier", {})
    return (
        (not finding["isSuppressed"] or bool(asked.get("listSuppressedFindings")))
        and asked.get("checkName") in (None, finding["checkName"])
        and asked.get("taskId") in (None, finding["taskId"])
        and all(resource.get(name) == value for name, value in named.items())
        and (asked.get("startTime") is None or finding["findingTime"] >= asked["startTime"])
        and (asked.get("endTime") is None or finding["findingTime"] <= asked["endTime"])
    )


def _describe(_request: Request, finding_id: str) -> Response:
    finding = _findings.get(finding_id)
    return json_response({"finding": finding}) if finding else not_found(f"No audit finding {finding_id}")


def _plant(body: dict[str, Any]) -> tuple[int, Any]:
    if not body.get("checkName") or not isinstance(body.get("nonCompliantResource"), dict):
        return 400, {"message": "a finding has a checkName and a nonCompliantResource"}
    now = int(time.time())
    finding = {
        "findingId": new_uuid(), "taskId": new_uuid().replace("-", ""), "taskStartTime": now, "findingTime": now,
        "severity": "MEDIUM", "relatedResources": [], "isSuppressed": False, **body,
    }
    with request_scope(ACCOUNT, REGION):
        _findings[finding["findingId"]] = finding
    return 200, finding


def _forget(_body: Any) -> tuple[int, Any]:
    with request_scope(ACCOUNT, REGION):
        _findings.clear()
    return 200, {}
