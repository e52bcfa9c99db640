"""What is changed in the emulator before it starts, in this order.

Every module named here restores rules of AWS that the emulator lacks or
relaxes; its `install()` changes the emulator in memory, never on disk.
"""

from __future__ import annotations

import importlib

PATCHES = [
    "local.iot_routes",
    "local.iot_stores",
    "local.iot_iam",
    "local.iot_thing_types",
    "local.iot_things",
    "local.iot_groups",
    "local.iot_dynamic_groups",
    "local.iot_principals",
    "local.iot_certificates",
    "local.iot_policies",
    "local.iot_billing_groups",
    "local.iot_shadows",
    "local.iot_retained",
    "local.iot_connections",
    "local.iot_tunnels",
    "local.iot_job_control",
    "local.iot_tunnels_proxy",
    "local.iot_jobs_details",
    "local.iot_jobs_time",
    "local.iot_endpoint",
    "local.iot_audit",
    "local.iot_rule_sql",
    "local.iot_rule_actions",
    "local.iot_paging",
    "local.mqtt_address",
    "local.mqtt_certificates",
    "local.mqtt_server_name",
    "local.mqtt_policies",
    "local.mqtt_websocket",
    "local.mqtt_presence",
    "local.sts_sessions",
    "local.lambda_latency",
    "local.lambda_environment",
    "local.lambda_trace",
    "local.lambda_invocation",
    "local.lambda_permission",
    "local.http_api_reply",
    "local.http_api_stage",
    "local.kms_conditions",
    "local.kms_signing",
    "local.dynamodb_conditions",
    "local.dynamodb_indexes",
    "local.s3_kms",
    "local.s3_missing",
    "local.cfn_http_api",
    "local.cfn_table",
    "local.cfn_bucket",
    "local.cfn_function",
    "local.cfn_function_targets",
    "local.cfn_state_machine",
    "local.cfn_subscription",
    "local.cfn_custom_resource",
    "local.sns_lambda",
    "local.event_targets",
    "local.schedules",
    "local.logs_paging",
    "local.workflow_role",
    "local.workflow_errors",
    "local.workflow_end",
    "local.workflow_start",
    "local.workflow_callbacks",
    "local.workflow_map",
    "local.workflow_limits",
    "local.workflow_definition",
    "local.transport",
    "local.grants",
    "local.faults",
]


def install_all() -> None:
    """Apply every patch."""
    for name in PATCHES:
        importlib.import_module(name).install()
