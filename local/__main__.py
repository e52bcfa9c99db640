"""Run the local cloud: `python -m local up`, `down`, `status`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from local import cloud
from local.deploy import DeployFailed
from local.deploy_check import CheckFailed
from local.process import StartFailed
from local.settings import DEFAULT_STATE_DIR, TEMPLATE, StateDir


def main() -> int:
    """Run one command; 0 is done, 1 failed, 2 wrong usage."""
    arguments = _parser().parse_args()
    state = StateDir(arguments.state_dir.resolve())
    match arguments.command:
        case "up":
            try:
                outputs = cloud.up(state, arguments.template, dict(arguments.parameter), _say)
            except (StartFailed, DeployFailed, CheckFailed) as failure:
                print(f"local cloud: failed\n{failure}", file=sys.stderr)
                return 1
            _say(f"the API is at {outputs['api_url']}")
            _say(f"everything else is in {state.outputs_file}")
        case "down":
            _say("stopped" if cloud.down(state) else "was not running")
        case "status":
            status = cloud.status(state)
            if status is None:
                _say("not running")
                return 1
            print(json.dumps(status, indent=2))
    return 0


def _say(message: str) -> None:
    print(f"local cloud: {message}", flush=True)


def _parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="An AWS on this machine with the stack in it.")
    parser.add_argument("--state-dir", type=Path, default=DEFAULT_STATE_DIR,
                        help="where this cloud keeps its state; another one can run beside it (default: .local)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the cloud and deploy into it; deploys again when it runs")
    up.add_argument("--parameter", action="append", default=[], type=_parameter, metavar="NAME=VALUE",
                    help="a parameter of the template; may be repeated")
    up.add_argument("--template", type=Path, default=TEMPLATE, help="what to deploy (default: template.yaml)")
    commands.add_parser("down", help="stop it; what it held is gone")
    commands.add_parser("status", help="tell whether it runs, and where")
    return parser


if __name__ == "__main__":
    sys.exit(main())
