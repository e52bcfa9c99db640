"""`make demo`: real street lights, created and deleted before your eyes.

The real binaries, deployed from template.yaml into the local cloud, are driven
through `lamp` as an operator drives them, and every claim is checked against
AWS's own API or over MQTT. The exit code is 0 only if all of them hold.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from local import demo_cloud
from local.demo_report import Report, Stopped
from local.demo_steps import Demo
from local.settings import DEFAULT_STATE_DIR, StateDir


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description="Show what Lamplighter does.")
    parser.add_argument("--report", type=Path, metavar="DIR", help="leave the same as JSON in DIR/report.json")
    parser.add_argument("--keep", action="store_true", help="leave the local cloud up, though the demo started it")
    parser.add_argument("--state-dir", type=Path, default=DEFAULT_STATE_DIR, help="the local cloud's (default: .local)")
    arguments = parser.parse_args()

    state = StateDir(arguments.state_dir.resolve())
    report = Report(Console(highlight=False))
    started_here = demo_cloud.running_outputs(state) is None
    try:
        show(report, state)
    except Stopped:
        report.console.print("\n[bold red]The demo stops here: what follows builds on what failed.")
    finally:
        if started_here and not arguments.keep:
            demo_cloud.cloud(state, "down")
    conclude(report, started_here and not arguments.keep)
    if arguments.report:
        report.console.print(f"The report: {report.write(arguments.report)}")
    return 0 if report.document()["ok"] else 1


def show(report: Report, state: StateDir) -> None:
    with report.step("A cloud of your own", "AWS IoT Core and what else the stack needs, on this machine"):
        if demo_cloud.running_outputs(state) is None:
            report.need("the local cloud comes up, with the stack of template.yaml", demo_cloud.cloud(state, "up"), 0)
        outputs = demo_cloud.running_outputs(state)
        report.need("it has an address for the API and one for devices", outputs is not None)
        assert outputs is not None
        for name in ("api_url", "aws_endpoint", "mqtt_port"):
            report.say(f"{name}: {outputs[name]}")
        scratch = demo_cloud.fresh_scratch(state)
        lamp = demo_cloud.Lamp(state.outputs_file, scratch / "keys")
        report.need("lamp is built", lamp.binary.exists())
    aws, broker = demo_cloud.Aws(outputs), demo_cloud.broker(outputs)
    Demo(report, lamp, aws, broker, scratch / "other").run()


def conclude(report: Report, taken_down: bool) -> None:
    document = report.document()
    if document["ok"]:
        text, style = f"{report.held} claims, all checked and true, in {document['seconds']:.0f} s", "green"
    else:
        text, style = f"{len(report.failed)} of {report.held + len(report.failed)} claims are not so", "red"
    if taken_down:
        explore = "`make local` starts a cloud to explore"
    else:
        explore = "The local cloud is still up; `make local-down` stops it"
    text = f"[bold]{text}[/]\n\n{explore}.\nThen try: target/local/lamp device list"
    report.console.print()
    report.console.print(Panel(text, style=style, expand=False))


if __name__ == "__main__":
    sys.exit(main())
