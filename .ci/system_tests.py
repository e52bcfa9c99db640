"""Runs whole-system tests in the cloud that LAMPLIGHTER_OUTPUTS names.

    python .ci/system_tests.py here|elsewhere CARGO-FLAG...

Those that may, run several at a time: most of their time is spent waiting. Those that take stock of the whole account,
or keep it busy, come one by one before, some of them elsewhere, in a second cloud. `tests/Cargo.toml` names them, and those
that need a cloud like no other.
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
    """Run those of one cloud; 0 if all pass."""
    cloud, *flags = sys.argv[1:]
    manifest = tomllib.loads((PACKAGE / "Cargo.toml").read_text())
    metadata = manifest["package"]["metadata"]["system-tests"]
    found = binaries(flags)
    named = {name for names in metadata.values() for name in names}
    if unknown := named - found.keys():
        print(f"tests/Cargo.toml names tests that are not there: {sorted(unknown)}", file=sys.stderr)
        return 1
    others = found.keys() - named
    rounds = {
        "here": [(1, metadata["alone"]), (SIDE_BY_SIDE, [*metadata["first"], *sorted(others)])],
        "elsewhere": [(1, metadata["elsewhere"])],
    }
    results = {}
    for at_once, names in rounds[cloud]:
        with ThreadPoolExecutor(at_once) as pool:
            results |= zip(names, pool.map(passes, names, [found[name] for name in names]), strict=True)
    failed = [name for name, passed in results.items() if not passed]
    print(f"\n{cloud}: {len(results) - len(failed)} of {len(results)} binaries passed; failed: {failed or 'none'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
