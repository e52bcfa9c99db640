"""A service invokes a function only if the function's own policy lets it.

AWS rule restored: "Viewing resource-based IAM policies in Lambda": API
Gateway and other services need a statement in the function's policy that
names them as principal and, where it has conditions, the source. The
emulator lets API Gateway invoke any function.
"""

from __future__ import annotations

from typing import Any

from ministack.core.arn import execute_api_arn
from ministack.core.iam_evaluator import EvalContext, evaluate_resource_policy
from ministack.core.responses import get_account_id, get_region
from ministack.services import apigateway, lambda_svc


def service_may_invoke(function_arn: str, service: str, source_arn: str) -> bool:
    """Whether the function's policy lets `service` (`iot.amazonaws.com`) invoke it for `source_arn`."""
    found = lambda_svc.function_policy_for_arn(function_arn)
    if found is None:
        return False
    context = EvalContext(
        # No statement that names an account or a role may count for a service.
        principal_arn=f"service:{service}",
        principal_type="Service",
        principal_account=get_account_id(),
        action="lambda:InvokeFunction",
        resource_arn=function_arn,
        region=get_region(),
        service_context={
            "aws:sourcearn": source_arn,
            "aws:sourceaccount": get_account_id(),
        },
    )
    return evaluate_resource_policy(found[0], context, service=service).decision == "Allow"


async def _invoke_lambda_proxy(integration: dict[str, Any], api_id: str, stage: str, path: str, method: str,
                               *args: Any, **kwargs: Any) -> tuple:
    reference = apigateway._extract_lambda_ref_from_integration_uri(integration.get("integrationUri", ""))
    _, config, _ = lambda_svc._get_func_record_for_ref_in_scope(
        reference, account_id=kwargs["owner_account_id"], region=kwargs["owner_region"])
    source = execute_api_arn(get_region(), get_account_id(), api_id, stage, method, path)
    if config is not None and not service_may_invoke(config["FunctionArn"], "apigateway.amazonaws.com", source):
        return 500, {"Content-Type": "application/json"}, b'{"message":"Internal Server Error"}'
    return await _emulator_invoke_lambda_proxy(integration, api_id, stage, path, method, *args, **kwargs)


def install() -> None:
    """Ask before API Gateway's invocations."""
    apigateway._invoke_lambda_proxy = _invoke_lambda_proxy


_emulator_invoke_lambda_proxy = apigateway._invoke_lambda_proxy
