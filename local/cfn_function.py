"""A function gets its dead-letter queue and its reserved concurrency.

AWS rule restored: "AWS::Lambda::Function", properties `DeadLetterConfig` and
`ReservedConcurrentExecutions`. The emulator drops them.
"""

from __future__ import annotations

from typing import Any

from ministack.services import lambda_svc

from local.cfn_handlers import after_create_and_update


def apply_settings(name: str, props: dict[str, Any]) -> None:
    """Store the two, as the API's own calls would."""
    function = lambda_svc._functions[name]
    if dead_letters := props.get("DeadLetterConfig"):
        if refused := lambda_svc._validate_dead_letter_config(dead_letters):
            raise ValueError(f"AWS::Lambda::Function DeadLetterConfig: {refused[2]!r}")
        function["config"]["DeadLetterConfig"] = dead_letters
    else:
        function["config"].pop("DeadLetterConfig", None)
    reserved = props.get("ReservedConcurrentExecutions")
    function["concurrency"] = None if reserved is None else int(reserved)


def install() -> None:
    """Apply the settings after the function itself."""
    after_create_and_update("AWS::Lambda::Function", apply_settings)
