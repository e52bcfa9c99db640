"""The local cloud as one thing: up, down, status."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local import outputs, process
from local.deploy import Deployment, deploy
from local.deploy_check import check
from local.process import Emulator
from local.settings import STACK_NAME, StateDir

Say = Callable[[str], None]


def up(state: StateDir, template: Path, parameters: dict[str, str], say: Say) -> dict[str, Any]:
    """Start the emulator unless it runs, deploy the template, check it, and write the outputs."""
    emulator = process.running(state)
    if emulator is None:
        say("starting the emulator")
        emulator = process.start(state)
    say(f"the emulator answers at {emulator.endpoint}")
    ca = _fetch_ca(emulator)
    state.mqtt_ca_file.write_text(ca)
    say(f"deploying {template.name}")
    deployment = Deployment(emulator.endpoint, template, STACK_NAME,
                            {**_local_parameters(template, ca), **parameters})
    stack = deploy(deployment, state)
    say("comparing what is there with the template")
    checked = check(deployment, state.packaged_template)
    say(f"deployed and checked: {checked} properties")
    return outputs.write(state, emulator, stack)


def down(state: StateDir) -> bool:
    """Stop what `up` started. False when nothing was running."""
    return process.stop(state)


def status(state: StateDir) -> dict[str, Any] | None:
    """Where the running cloud is, or None."""
    emulator = process.running(state)
    if emulator is None:
        return None
    deployed = json.loads(state.outputs_file.read_text()) if state.outputs_file.exists() else {}
    return {"pid": emulator.pid, "aws_endpoint": emulator.endpoint, "mqtt_port": emulator.mqtt_port,
            "api_url": deployed.get("api_url"), "log": str(state.log_file)}


def _local_parameters(template: Path, ca: str) -> dict[str, str]:
    """What this machine needs otherwise than AWS, as far as the template asks for it."""
    wanted = {
        # The functions run on this machine, and devices meet this broker.
        "Architecture": "x86_64",
        "ServerCaPem": ca,
        # The state goes with the process anyway.
        "RegistryDeletionProtection": "false",
    }
    declared = template.read_text()
    return {name: value for name, value in wanted.items() if f"\n  {name}:" in declared}


def _fetch_ca(emulator: Emulator) -> str:
    with urllib.request.urlopen(f"{emulator.endpoint}/_ministack/iot/ca.pem", timeout=10) as reply:
        return reply.read().decode()
