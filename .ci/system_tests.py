"""Runs the whole-system tests, several binaries at a time: most of their time is spent waiting.

    python .ci/system_tests.py CARGO-FLAG...

Those that take stock of the whole account, or keep it busy, run alone; those that need another cloud do not run here.
`tests/Cargo.toml` names them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SIDE_BY_SIDE = 3
PACKAGE = Path("tests").resolve()


def binaries(flags: list[str]) -> dict[str, str]:
    """Each test's executable, compiled."""
    names = sorted(path.stem for path in (PACKAGE / "tests").glob("*.rs"))
    chosen = [argument for name in names for argument in ("--test", name)]
    command = ["cargo", "test", *flags, *chosen, "--no-run", "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in built.stdout.splitlines()]
    return {
        message["target"]["name"]: message["executable"]
        for message in messages
        if message["reason"] == "compiler-artifact" and message["target"]["kind"] == ["test"]
    }


def passes(name: str, executable: str) -> bool:
    """Runs one, and prints what it wrote once it has ended."""
    begun = time.monotonic()
    ran = subprocess.run([executable], cwd=PACKAGE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    seconds = time.monotonic() - begun
    print(f"\n=== {name} ({seconds:.0f} s)\n{ran.stdout.decode(errors='replace').strip()}", flush=True)
    return ran.returncode == 0


def main() -> int:
    manifest = tomllib.loads((PACKAGE / "Cargo.toml").read_text())
    metadata = manifest["package"]["metadata"]["system-tests"]
    found = binaries(sys.argv[1:])
    unknown = {*metadata["alone"], *metadata["first"], *metadata["apart"]} - found.keys()
    if unknown:
        print(f"tests/Cargo.toml names tests that are not there: {sorted(unknown)}", file=sys.stderr)
        return 1
    others = [name for name in found if name not in metadata["alone"] + metadata["apart"]]
    others.sort(key=lambda name: name not in metadata["first"])
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        together = pool.map(passes, others, [found[name] for name in others])
        results = dict(zip(others, together, strict=True))
    for name in metadata["alone"]:
        results[name] = passes(name, found[name])
    failed = [name for name, passed in results.items() if not passed]
    print(f"\n{len(results) - len(failed)} of {len(results)} binaries passed; failed: {failed or 'none'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
