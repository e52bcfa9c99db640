"""Log events come in pages.

AWS rule restored: "FilterLogEvents" (Amazon CloudWatch Logs API Reference): an
answer of 10,000 events, or of `limit`, has a `nextToken` where there are more.
The emulator leaves all later events out, and says nothing of them.

And log groups can be listed while functions write to them: the emulator breaks
off, where a stream is added as it counts their bytes.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import cloudwatch_logs

MOST = 10_000


def install() -> None:
    global _emulator_filter, _emulator_describe
    _emulator_filter, cloudwatch_logs._filter_log_events = cloudwatch_logs._filter_log_events, _filter
    _emulator_describe, cloudwatch_logs._describe_log_groups = cloudwatch_logs._describe_log_groups, _describe


def _describe(data: dict[str, Any]) -> Any:
    while True:
        try:
            return _emulator_describe(data)
        except RuntimeError as error:
            if "changed size during iteration" not in str(error):
                raise


def _filter(data: dict[str, Any]) -> Any:
    """A token names a moment, and how many events of that moment were given."""
    start, given = (int(part) for part in data.get("nextToken", f"{data.get('startTime', 0)}.0").split("."))
    limit = min(data.get("limit", MOST), MOST)
    status, headers, body = _emulator_filter({**data, "startTime": start, "limit": MOST})
    if status != 200:
        return status, headers, body
    found = json.loads(body)
    seen, events = found["events"][:given + limit], found["events"][given:given + limit]
    if events and (len(found["events"]) > len(seen) or len(seen) == MOST):
        last = events[-1]["timestamp"]
        found["nextToken"] = f"{last}.{sum(event['timestamp'] == last for event in seen)}"
    found["events"] = events
    return status, headers, json.dumps(found).encode()
