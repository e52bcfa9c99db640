"""`python -m local.timeline --thing NAME`: a device's rotations, from the logs of renew-certificate.

Nothing else is asked: what stands in the timeline is what the function wrote
when it heard, decided, did or told something.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from local.clients import client
from local.settings import DEFAULT_STATE_DIR, STACK_NAME, StateDir

LOG_GROUP = f"/aws/lambda/{STACK_NAME}-renew-certificate"
JOURNAL = "::journal"

Line = dict[str, Any]

EFFECTS = {
    "CreateJob": "create the job that tells the light to renew",
    "CancelJob": "cancel the job that told the light",
    "DeleteJob": "delete the job that told the light",
    "StoreKey": "make a key, seal it, and store it in custody",
    "Prepare": "sign the new certificate, or note that it will be asked for",
    "Mint": "make the new certificate, in force",
    "AttachNew": "attach the new certificate to the thing, beside the old",
    "DetachNew": "detach the new certificate",
    "DeactivateNew": "set the new certificate INACTIVE",
    "DeleteNew": "delete the new certificate",
    "PurgeNew": "purge the new certificate's key from custody",
    "DetachOld": "detach the old certificate",
    "DeactivateOld": "set the old certificate INACTIVE",
    "DeleteOld": "delete the old certificate",
    "PurgeOld": "purge the old certificate's key from custody",
}


def rotations(messages: list[str], thing: str) -> dict[str, list[Line]]:
    """The lines of each rotation of a thing, in the order of time, the oldest rotation first."""
    found: dict[str, list[Line]] = {}
    lines = (json.loads(message) for message in messages if JOURNAL in message)
    for line in sorted(lines, key=lambda line: line["timestamp"]):
        if line.get("thing") == thing:
            found.setdefault(line.get("rotation", "of no rotation"), []).append(line)
    return found


def timeline(lines: list[Line]) -> list[str]:
    """One rotation as text: seconds since its beginning, who acted, and what."""
    known = {line[name]: name for line in lines for name in ("old", "new") if name in line}

    def certificate(fingerprint: str) -> str:
        return f"the {known.get(fingerprint, 'unknown')} certificate {fingerprint[:8]}…"

    def text(line: Line) -> str:
        match line["message"]:
            case "heard" if line["word"] in ("subscribed", "disconnected"):
                return f"light    {line['word']}, with {certificate(line['with'])}"
            case "heard":
                return f"light    says {line['word']}, with {certificate(line['with'])}"
            case "told":
                return f"service  says {line['word']}"
            case "did":
                return f"AWS      {EFFECTS.get(line['effect'], line['effect'])}"
            case _:
                return f"service  {line.get('from', '(begins)')} → {line['to']}"

    began = _moment(lines[0])
    return [f"{(_moment(line) - began).total_seconds():8.3f} s  {text(line)}" for line in lines]


def _moment(line: Line) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


def main() -> int:
    """Print them; 0 is that there was something to print."""
    parser = argparse.ArgumentParser(prog="python -m local.timeline", description="A device's rotations, from the logs.")
    parser.add_argument("--thing", required=True, metavar="NAME", help="the device's thing name")
    parser.add_argument("--state-dir", type=Path, default=DEFAULT_STATE_DIR, help="which local cloud (default: .local)")
    arguments = parser.parse_args()
    outputs = StateDir(arguments.state_dir.resolve()).outputs_file
    if not outputs.exists():
        print(f"timeline: no local cloud has left {outputs}", file=sys.stderr)
        return 1
    logs = client("logs", json.loads(outputs.read_text())["aws_endpoint"])
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=LOG_GROUP)
    messages = [event["message"] for page in pages for event in page["events"]]
    found = rotations(messages, arguments.thing)
    for rotation, lines in found.items():
        print(f"{arguments.thing}  {rotation}  {lines[0]['timestamp']}", *timeline(lines), "", sep="\n")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
