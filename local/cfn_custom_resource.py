"""A custom resource whose function fails is reported at once.

AWS departed from, on purpose: "Custom resources": a stack waits for the
function's answer until `ServiceTimeout`, an hour by default, whatever becomes
of the function. A deployment to a laptop is told what the function failed
with.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import custom_resource

ANSWER_PATH = "/_ministack/cfn-response/"


def _execute(function: dict[str, Any], event: Any) -> dict[str, Any]:
    result = _emulator_execute(function, event)
    answer_to = event.get("ResponseURL", "") if isinstance(event, dict) else ""
    if result.get("error") and ANSWER_PATH in answer_to:
        token = answer_to.rsplit("/", 1)[1]
        reason = f"the custom resource's function failed: {json.dumps(result.get('body'))}"
        custom_resource.deliver_response(token, {"Status": "FAILED", "Reason": reason})
    return result


def install() -> None:
    """Watch the invocations that custom resources make."""
    lambda_svc._execute_function_with_config_scope = _execute


_emulator_execute = lambda_svc._execute_function_with_config_scope
