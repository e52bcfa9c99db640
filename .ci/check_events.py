"""The examples of our own events keep to their schemas, and every trigger in the template has a payload."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema
import yaml

EVENTS = Path("events")


class Template(yaml.SafeLoader):
    """Reads CloudFormation's short forms as plain values."""


def _plain(loader: yaml.Loader, _tag: str, node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


Template.add_multi_constructor("!", _plain)


def unfit_examples() -> list[str]:
    """Examples that their own schema refuses."""
    found = []
    for schema_file in sorted((EVENTS / "schemas").glob("*.json")):
        schema = json.loads(schema_file.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        example = json.loads((EVENTS / "domain" / schema_file.name).read_text())
        found += [
            f"events/domain/{schema_file.name}: {error.message}"
            for error in jsonschema.Draft202012Validator(schema).iter_errors(example)
        ]
    return found


def missing_payloads() -> list[str]:
    """Routes of the template that no payload shows."""
    template = yaml.load(Path("template.yaml").read_text(), Template)  # noqa: S506 (a SafeLoader)
    found = []
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        properties = resource["Properties"]
        folder = EVENTS / Path(properties["CodeUri"]).name
        payloads = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
        if not payloads:
            found.append(f"{folder}: no payload at all")
        for event in properties.get("Events", {}).values():
            if event["Type"] != "HttpApi":
                continue
            route = f"{event['Properties']['Method']} {event['Properties']['Path']}"
            if not any(payload.get("routeKey") == route for payload in payloads):
                found.append(f"{folder}: no payload of {route}")
    return found


if __name__ == "__main__":
    wrong = unfit_examples() + missing_payloads()
    print("\n".join(wrong) or "events: every trigger has a payload, every example keeps to its schema")
    sys.exit(bool(wrong))
