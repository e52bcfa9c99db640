"""A rotation read from the logs: its lines in the order of time, and who acted."""

from __future__ import annotations

import json
from typing import Any

from local.timeline import rotations, timeline

OLD, NEW = "a" * 64, "b" * 64


def line(second: int, message: str, **fields: Any) -> str:
    return json.dumps({
        "timestamp": f"2026-03-01T10:15:{second:02}.250000Z", "level": "INFO", "message": message, "thing": "light",
        "rotation": "op-1", "target": "lamplighter_aws::renewal::journal", **fields,
    })


def test_who_acted_and_when() -> None:
    messages = [
        line(3, "heard", word="request", **{"with": OLD}),
        line(1, "decided", to="REQUESTED", old=OLD),
        "START RequestId: 1 and other lines of the platform",
        line(2, "told", word="renew"),
        line(2, "told", word="renew", thing="another"),
        line(9, "decided", rotation="op-2", to="REQUESTED", old=NEW, **{"from": "DONE"}),
        line(4, "did", effect="AttachNew"),
        line(5, "decided", old=OLD, new=NEW, to="ISSUED", **{"from": "ISSUING"}),
        line(6, "heard", word="subscribed", **{"with": NEW}),
        line(7, "heard", word="proof", **{"with": "c" * 64}),
    ]
    found = rotations(messages, "light")
    assert list(found) == ["op-1", "op-2"]
    assert timeline(found["op-1"]) == [
        "   0.000 s  service  (begins) → REQUESTED",
        "   1.000 s  service  says renew",
        "   2.000 s  light    says request, with the old certificate aaaaaaaa…",
        "   3.000 s  AWS      attach the new certificate to the thing, beside the old",
        "   4.000 s  service  ISSUING → ISSUED",
        "   5.000 s  light    subscribed, with the new certificate bbbbbbbb…",
        "   6.000 s  light    says proof, with the unknown certificate cccccccc…",
    ]
    assert rotations(messages, "nobody") == {}
