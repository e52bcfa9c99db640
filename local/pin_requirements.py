"""Write `requirements.txt` from `requirements.in`, with hashes (needs `uv`).

`python -m local.pin_requirements`
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMAND = ["uv", "pip", "compile", "--python-version", "3.11", "--generate-hashes", "--no-strip-extras",
           "--custom-compile-command", "python -m local.pin_requirements", "local/requirements.in"]
WITH_EXTRA = re.compile(r"^([A-Za-z0-9._-]+)\[[^]]+](==\S+ \\)$")


def with_plain_names(compiled: str) -> str:
    """Pin `name` beside every `name[extra]`: older versions of pip demand both in hash mode."""
    lines = compiled.splitlines()
    result: list[str] = []
    for index, line in enumerate(lines):
        if match := WITH_EXTRA.match(line):
            result.append(match[1] + match[2])
            for hashed in lines[index + 1:]:
                if not hashed.lstrip().startswith("--hash"):
                    break
                result.append(hashed)
        result.append(line)
    return "\n".join(result) + "\n"


def main() -> None:
    """Resolve and write."""
    compiled = subprocess.run(COMMAND, cwd=HERE.parent, check=True, capture_output=True, text=True).stdout
    (HERE / "requirements.txt").write_text(with_plain_names(compiled))


if __name__ == "__main__":
    main()
