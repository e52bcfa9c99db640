"""Only what was started is stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from local import process
from local.settings import ROOT, StateDir


def command(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "local", "--state-dir", str(state), *arguments],
                          cwd=ROOT, capture_output=True, text=True, check=False)


def test_down_without_up_is_done_already(tmp_path: Path) -> None:
    for _ in range(2):
        done = command(tmp_path, "down")
        assert (done.returncode, done.stdout) == (0, "local cloud: was not running\n")
    assert command(tmp_path, "status").returncode == 1


def test_another_process_under_the_remembered_number_is_left_alone(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.process_file.write_text(json.dumps(
        {"pid": os.getpid(), "token": "not in any command line", "port": 1, "mqtt_port": 2}))
    assert process.running(state) is None
    assert process.stop(state) is False


def test_two_clouds_side_by_side(tmp_path: Path) -> None:
    states = [StateDir(tmp_path / name) for name in ("one", "two")]
    try:
        ports = {process.start(state).port for state in states}
        assert len(ports) == 2
        assert process.stop(states[0]) is True
        assert process.running(states[0]) is None
        assert process.running(states[1]) is not None
    finally:
        for state in states:
            process.stop(state)


def test_what_goes_wrong_is_told_with_its_resource(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text("Resources: {Wrong: {Type: 'AWS::S3::Bucket', Properties: {ReplicationConfiguration: "
                        "{Role: 'arn:aws:iam::000000000000:role/r', Rules: [{Status: Enabled, Destination: "
                        "{Bucket: 'arn:aws:s3:::nowhere'}}]}}}}")
    try:
        done = command(tmp_path / "state", "up", "--template", str(template))
        assert done.returncode == 1
        assert "Wrong (AWS::S3::Bucket): " in done.stderr
    finally:
        command(tmp_path / "state", "down")


def test_a_parameter_is_a_name_and_a_value(tmp_path: Path) -> None:
    assert command(tmp_path, "up", "--parameter", "nonsense").returncode == 2
