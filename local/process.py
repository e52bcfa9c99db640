"""Start, find and stop the emulator's process."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from local.settings import ACCOUNT, REGION, ROOT, ROOT_KEY, ROOT_SECRET, StateDir

START_DEADLINE_SECONDS = 60.0
STOP_DEADLINE_SECONDS = 10.0


class StartFailed(Exception):
    """The emulator did not come up."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator, as its state directory remembers it."""

    pid: int
    token: str
    port: int
    mqtt_port: int

    @property
    def endpoint(self) -> str:
        """The address every AWS client is pointed at."""
        return f"http://127.0.0.1:{self.port}"


def running(state: StateDir) -> Emulator | None:
    """The emulator that this state directory's last start left running, if it still does."""
    try:
        emulator = Emulator(**json.loads(state.process_file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return emulator if _is_ours(emulator) else None


def start(state: StateDir) -> Emulator:
    """Start an emulator that outlives this command, and wait until it answers."""
    state.path.mkdir(parents=True, exist_ok=True)
    state.scratch_dir.mkdir(exist_ok=True)
    port, mqtt_port = _free_ports(2)
    token = secrets.token_hex(16)
    with state.log_file.open("wb") as log:
        process = subprocess.Popen(
            # The token on the command line is how a later command tells this
            # process from another that was given the same number.
            [sys.executable, "-m", "local.emulator", "--token", token],
            cwd=ROOT,
            env=_environment(state, port, mqtt_port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    emulator = Emulator(process.pid, token, port, mqtt_port)
    state.process_file.write_text(json.dumps(asdict(emulator)))
    _wait_until_ready(emulator, process, state.log_file)
    return emulator


def stop(state: StateDir) -> bool:
    """Stop the emulator and its functions. False when none was running."""
    emulator = running(state)
    if emulator is not None:
        _signal_group(emulator.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_DEADLINE_SECONDS
        while _is_ours(emulator) and time.monotonic() < deadline:
            time.sleep(0.05)
        # What is left of its process group is the functions it had started.
        _signal_group(emulator.pid, signal.SIGKILL)
    state.process_file.unlink(missing_ok=True)
    state.outputs_file.unlink(missing_ok=True)
    shutil.rmtree(state.scratch_dir, ignore_errors=True)
    return emulator is not None


def _environment(state: StateDir, port: int, mqtt_port: int) -> dict[str, str]:
    """A clean environment: nothing of the caller's AWS settings may reach the emulator."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": ROOT_KEY,
        "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "1",
        "IOT_MTLS_PORT": str(mqtt_port),
        "LAMBDA_EXECUTOR": "local",
        # Each has three threads, which look for work ten times a second.
        "LAMBDA_WARM_TTL_SECONDS": "60",
        "LOG_LEVEL": os.environ.get("LAMPLIGHTER_EMULATOR_LOG", "INFO"),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_REGION": REGION,
        "PERSIST_STATE": "0",
        "PYTHONUNBUFFERED": "1",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(state.scratch_dir),
    }


def _free_ports(count: int) -> list[int]:
    """Ports that nothing listens on now; all are held open together so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _wait_until_ready(emulator: Emulator, process: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            tail = "\n".join(log_file.read_text(errors="replace").splitlines()[-20:])
            raise StartFailed(f"the emulator ended at once with code {process.returncode}:\n{tail}")
        try:
            with urllib.request.urlopen(f"{emulator.endpoint}/_ministack/ready", timeout=2) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise StartFailed(f"the emulator did not become ready in {START_DEADLINE_SECONDS:.0f} s; see {log_file}")


def _is_ours(emulator: Emulator) -> bool:
    """Whether the process of that number is the very one that was started."""
    shown = subprocess.run(
        ["ps", "-ww", "-o", "stat=,command=", "-p", str(emulator.pid)],
        capture_output=True, text=True, check=False,
    ).stdout.strip()
    return emulator.token in shown and not shown.startswith("Z")


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass
