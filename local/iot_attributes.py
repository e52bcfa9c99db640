"""Attributes of things and thing groups.

AWS IoT API Reference, "AttributePayload": a name matches `[a-zA-Z0-9_.,@/:#-]+`
with at most 128 characters, a value `[a-zA-Z0-9_.,@/:#=\\[\\]-]*` with at most
800. The emulator takes any text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from local.iot_answers import invalid
from local.iot_routes import Response

_NAME = re.compile(r"[a-zA-Z0-9_.,@/:#-]{1,128}")
_VALUE = re.compile(r"[a-zA-Z0-9_.,@/:#=\[\]-]{0,800}")


def is_attribute_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def attributes_refusal(attributes: Mapping[str, Any], at_most: int) -> Response | None:
    """Why these attributes are refused, if they are."""
    if len(attributes) > at_most:
        return invalid(f"Attributes must not be more than {at_most}")
    for name, value in attributes.items():
        if not is_attribute_name(name):
            return invalid(f"Attribute name {name!r} must match [a-zA-Z0-9_.,@/:#-]{{1,128}}")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            return invalid(f"The value of attribute {name} must match [a-zA-Z0-9_.,@/:#=\\[\\]-]{{0,800}}")
    return None
