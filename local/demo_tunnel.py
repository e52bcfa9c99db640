"""The demo's tunnel: a light behind a firewall is reached, and every tunnel leaves a trail."""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.text import Text

from local.demo_cloud import Lamp
from local.demo_lights import Lights, until
from local.demo_report import Report

REACHED = "genoa-foce-02"
REASON = "the lamp does not switch"
BYTE = b"\x2a"


class Echo(socketserver.BaseRequestHandler):
    """A service beside the light that says back what it hears."""

    def handle(self) -> None:
        while heard := self.request.recv(4096):
            self.request.sendall(heard)


class Tunnel:
    """What its step needs."""

    def __init__(self, report: Report, lamp: Lamp, lights: Lights, elsewhere: Path) -> None:
        self.report, self.lamp, self.lights, self.elsewhere = report, lamp, lights, elsewhere

    def reach(self) -> None:
        """A byte goes there and back, through AWS's protocol, until the tunnel is closed."""
        report, name = self.report, REACHED
        with report.step("One is reached", f'lamp tunnel open {name} --service SSH --minutes 30 --reason "{REASON}"'):
            asked = ("tunnel", "open", name, "--service", "SSH", "--minutes", 30, "--reason", REASON)
            token = self.elsewhere / "tunnel.token"
            refused = self.lamp(*asked, "--token-file", token)
            report.check("while it is not connected, none is opened: exit code 3", refused.exit, 3)
            with _service() as (host, port):
                light = self.lights.start(
                    f"{name}-reached", "device", "run", "--thing", name, "--tunnel-services", f"SSH={host}:{port}")
                report.need(f"{name} connects", until(lambda: len(light.said("connected")), 1), 1)
                opened = self.lamp(*asked, "--token-file", token, "--proxy")
                report.need("lamp opens a tunnel: exit code 0", (opened.exit, opened.stderr), (0, ""))
                tunnel = opened.document["tunnelId"]
                kept = (token.stat().st_mode & 0o777, token.read_text() in json.dumps(opened.documents))
                report.check("its token is in a file for its owner's eyes only, and was not printed", kept, (0o600, False))
                report.say(opened.document["command"])
                log = self.elsewhere / "tunnel.jsonl"
                proxy = self.lamp.start(log, "tunnel", "connect", "--token-file", token, "--listen", 0)
                try:
                    self._echo(log)
                    report.check(
                        "another process gets nowhere with the same token: exit code 3",
                        self.lamp("tunnel", "connect", "--token-file", token, "--listen", 0).exit, 3,
                    )
                    report.check("it is closed: exit code 0", self.lamp("tunnel", "close", tunnel).exit, 0)
                    report.check("that ends the way here", until(proxy.poll, 0), 0)
                    report.check("and in the light", until(lambda: len(light.said("tunnelEnded")), 1), 1)
                finally:
                    _end(proxy)
                light.switch_off()
            shown = self.lamp("tunnel", "show", tunnel).document
            trail = [each["what"] for each in shown["events"]]
            report.check("the trail says all of it", trail, ["asked", "opened", "closed"])
            report.check("and why", (shown["reason"], shown["ending"]), (REASON, "CLOSED"))
            report.show(Text(self.lamp.table(report.console.width, "tunnel", "show", tunnel)))

    def _echo(self, log: Path) -> None:
        listening = until(lambda: log.read_text().count("\n"), 1)
        self.report.need("lamp listens on this machine, and carries what connects", listening, 1)
        host, _, port = json.loads(log.read_text())["listening"].partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(BYTE)
            heard = connection.recv(1)
        self.report.check("a byte goes through the tunnel to the light's service, and comes back", heard, BYTE)


@contextmanager
def _service() -> Iterator[tuple[str, int]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host, port = server.server_address[:2]
        yield str(host), port
        server.shutdown()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
