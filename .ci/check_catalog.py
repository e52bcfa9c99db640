"""The published schema of catalogs agrees with the example and with the parser's cases.

`shared/domain/fixtures/catalogs.json` says of each catalog whether the schema
and the parser accept it; the parser is held to it by the domain's tests.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import jsonschema
import yaml

EXAMPLE = Path("examples/street-lights/catalog.yaml")
CASES = Path("shared/domain/fixtures/catalogs.json")


def wrong() -> list[str]:
    """What does not agree."""
    named = re.search(r"^# yaml-language-server: \$schema=(\S+)$", EXAMPLE.read_text(), re.MULTILINE)
    if not named:
        return [f"{EXAMPLE} names no schema"]
    schema = json.loads((EXAMPLE.parent / named[1]).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    found = [f"{EXAMPLE}: {error.message}" for error in validator.iter_errors(yaml.safe_load(EXAMPLE.read_text()))]
    for case in json.loads(CASES.read_text()):
        errors = [error.message for error in validator.iter_errors(case["catalog"])]
        if (not errors) != case["schema"]:
            found.append(f"{case['case']}: {errors or 'accepted'}")
    return found


if __name__ == "__main__":
    problems = wrong()
    print("\n".join(problems) or "catalog: the schema agrees with the example and with the parser's cases")
    sys.exit(bool(problems))
