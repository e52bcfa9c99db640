"""A function for tests that keeps what it is invoked with."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.tests.conftest import Cloud, policy_document

SOURCE = """
import json, os
def handler(event, context):
    with open(os.environ["KEEP"], "a") as kept:
        kept.write(json.dumps(event) + "\\n")
    if isinstance(event, dict) and event.get("fail"):
        raise ValueError(event["fail"])
    return event
"""


@dataclass(frozen=True)
class KeepingFunction:
    """The function, and the file that it adds its events to; an event with `fail` makes it fail."""

    arn: str
    kept: Path

    def events(self, count: int = 1, seconds: float = 5.0) -> list[dict]:
        """All that came so far, after waiting for so many."""
        deadline = time.monotonic() + seconds
        while len(self._lines()) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        text = self.kept.read_text() if self.kept.exists() else ""
        return text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]


def new_function(cloud: Cloud, unique: Callable[[str], str], folder: Path) -> KeepingFunction:
    """Make one, with a role of its own that allows nothing."""
    name = unique("function")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as code:
        code.writestr("index.py", SOURCE)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = cloud.client("iam").create_role(
        RoleName=unique("function-role"), AssumeRolePolicyDocument=policy_document([trust]))["Role"]["Arn"]
    kept = folder / f"{name}.kept"
    arn = cloud.client("lambda").create_function(
        FunctionName=name, Runtime="python3.11", Handler="index.handler", Role=role,
        Code={"ZipFile": archive.getvalue()}, Environment={"Variables": {"KEEP": str(kept)}})["FunctionArn"]
    return KeepingFunction(arn, kept)
