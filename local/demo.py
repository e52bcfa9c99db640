"""`make demo`: real street lights, created, grouped, renewed, cut off and deleted before your eyes.

The real binaries, deployed from template.yaml into a local cloud of the demo's
own, are driven through `lamp` as an operator drives them, and every claim is
checked against AWS's own API or over MQTT. What else runs on this machine is
neither touched nor counted. The exit code is 0 only if all claims hold.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from local import demo_cloud, demo_groups, demo_renewal
from local.demo_report import Report, Stopped
from local.demo_steps import Demo
from local.settings import DEMO_STATE_DIR, ROOT, StateDir


def main(given: list[str] | None = None) -> int:
    """Run the demo; 0 is that all claims hold, 1 that one does not, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m local.demo", description="Show what Lamplighter does.")
    parser.add_argument("--report", type=Path, metavar="DIR", help="leave the same as JSON in DIR/report.json")
    parser.add_argument("--keep", action="store_true", help="leave the demo's cloud up, to look at what is left in it")
    arguments = parser.parse_args(given)

    report, state = Report(Console(highlight=False)), StateDir(DEMO_STATE_DIR)
    try:
        with demo_cloud.alone(state):
            run(report, state, keep=arguments.keep)
    except demo_cloud.Taken:
        print("demo: another demo of this directory runs at this moment", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    conclude(report, kept=arguments.keep)
    if arguments.report:
        report.console.print(f"The report: {report.write(arguments.report)}")
    return 0 if report.document()["ok"] else 1


def run(report: Report, state: StateDir, *, keep: bool) -> None:
    """Show everything in a new cloud, and take that down whatever happens."""
    # One that was kept, or whose demo was killed, is of no use to this one.
    demo_cloud.clear(state)
    try:
        show(report, state)
    except Stopped:
        report.console.print("\n[bold red]The demo stops here: what follows builds on what failed.")
    finally:
        if not keep:
            demo_cloud.clear(state)


def show(report: Report, state: StateDir) -> None:
    with report.step("A cloud of its own", "AWS IoT Core and what else the stack needs, on this machine"):
        up = demo_cloud.cloud(state, "up", demo_renewal.PARAMETERS | demo_groups.PARAMETERS)
        report.need("a local cloud comes up, with the stack of template.yaml", up, 0)
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


def conclude(report: Report, *, kept: bool) -> None:
    document = report.document()
    if document["ok"]:
        text, style = f"{report.held} claims, all checked and true, in {document['seconds']:.0f} s", "green"
    else:
        text, style = f"{len(report.failed)} of {report.held + len(report.failed)} claims are not so", "red"
    if kept:
        where = DEMO_STATE_DIR.relative_to(ROOT)
        after = (
            "The demo's cloud is still up, until the next demo. Look at it, and stop it:\n"
            f"target/local/lamp --outputs {where}/outputs.json device list\n"
            f".venv/bin/python -m local --state-dir {where} down"
        )
    else:
        after = "The demo's cloud is gone. `make local` starts one to explore; README says how."
    text = f"[bold]{text}[/]\n\n{after}"
    report.console.print()
    report.console.print(Panel(text, style=style, expand=False))


if __name__ == "__main__":
    # However it is asked to end, it takes its cloud down first.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    sys.exit(main())
