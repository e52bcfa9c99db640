"""The template as CloudFormation sees it: transformed, with conditions decided and references resolved.

Made from the template alone and from what the stack's resources are called,
not from what the emulator made of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from local.settings import ACCOUNT, REGION

PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}
VARIABLE = re.compile(r"\$\{([^!}][^}]*)}")


class Unknown:
    """A value that only the resource itself can tell; it equals anything."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "(anything)"


class Absent:
    """`AWS::NoValue`: the property is not there."""


def expand(template: Path, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The template after its SAM transform."""
    translator = Translator(managed_policy_map={}, sam_parser=Parser(), boto_session=boto3.Session(region_name=REGION))
    return translator.translate(sam_template=yaml.safe_load(template.read_text()), parameter_values=dict(parameters))


@dataclass
class Resolver:
    """Resolves intrinsic functions."""

    template: dict[str, Any]
    parameters: Mapping[str, str]
    # By logical id: what Ref gives, and the attributes that are known.
    ids: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, str]]
    stack_name: str

    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources whose conditions hold."""
        return {name: resource for name, resource in self.template["Resources"].items()
                if self.holds(resource.get("Condition"))}

    def holds(self, condition: Any) -> bool:
        """Whether a condition holds; no condition does."""
        if condition is None:
            return True
        if isinstance(condition, str):
            return self.holds(self.template["Conditions"][condition])
        [(function, argument)] = condition.items()
        match function:
            case "Condition":
                return self.holds(argument)
            case "Fn::Not":
                return not self.holds(argument[0])
            case "Fn::And":
                return all(self.holds(each) for each in argument)
            case "Fn::Or":
                return any(self.holds(each) for each in argument)
            case "Fn::Equals":
                return str(self.value(argument[0])) == str(self.value(argument[1]))
            case _:
                raise ValueError(f"condition function {function} is not known")

    def value(self, given: Any) -> Any:
        """The value with everything resolved."""
        if isinstance(given, list):
            resolved = [self.value(each) for each in given]
            return [each for each in resolved if each is not Absent]
        if not isinstance(given, dict):
            return given
        if len(given) == 1:
            [(function, argument)] = given.items()
            if function == "Ref" or function.startswith("Fn::"):
                return self._call(function, argument)
        resolved_members = {name: self.value(each) for name, each in given.items()}
        return {name: each for name, each in resolved_members.items() if each is not Absent}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._ref(argument)
            case "Fn::GetAtt":
                name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
                return self.attributes.get(name, {}).get(attribute, Unknown())
            case "Fn::Sub":
                return self._substitute(argument)
            case "Fn::If":
                return self.value(argument[1] if self.holds(argument[0]) else argument[2])
            case "Fn::Join":
                parts = self.value(argument[1])
                return Unknown() if any(isinstance(each, Unknown) for each in parts) else argument[0].join(parts)
            case _:
                raise ValueError(f"function {function} is not known")

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return Absent
        if name == "AWS::StackName":
            return self.stack_name
        for known in (PSEUDO, self.parameters, self.ids):
            if name in known:
                return known[name]
        return Unknown()

    def _substitute(self, argument: Any) -> Any:
        text, own = (argument, {}) if isinstance(argument, str) else argument
        values = {}
        for name in VARIABLE.findall(text):
            if name in own:
                values[name] = self.value(own[name])
            else:
                values[name] = self._call("Fn::GetAtt", name) if "." in name else self._ref(name)
        if any(isinstance(value, Unknown) for value in values.values()):
            return Unknown()
        return VARIABLE.sub(lambda match: str(values[match[1]]), text).replace("${!", "${")
