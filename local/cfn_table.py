"""A table gets its expiry, its backups and its encryption.

AWS rule restored: "AWS::DynamoDB::Table", properties
`TimeToLiveSpecification`, `PointInTimeRecoverySpecification`,
`SSESpecification` and `DeletionProtectionEnabled`. The emulator drops the
first three and keeps the text "false" of the last as true.
"""

from __future__ import annotations

from typing import Any

from ministack.services import dynamodb

from local.cfn_handlers import accepted, after_create_and_update, is_true

WHAT = "AWS::DynamoDB::Table"


def apply_settings(name: str, props: dict[str, Any]) -> None:
    """Set what has its own call in the API, and encryption."""
    table = dynamodb._tables[name]
    if expiry := props.get("TimeToLiveSpecification"):
        accepted(dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": {
            "AttributeName": expiry.get("AttributeName"), "Enabled": is_true(expiry.get("Enabled"))}}), WHAT)
    recovery = props.get("PointInTimeRecoverySpecification") or {}
    accepted(dynamodb._update_continuous_backups({"TableName": name, "PointInTimeRecoverySpecification": {
        "PointInTimeRecoveryEnabled": is_true(recovery.get("PointInTimeRecoveryEnabled"))}}), WHAT)
    if encryption := props.get("SSESpecification"):
        request = {"Enabled": is_true(encryption.get("SSEEnabled")), "SSEType": encryption.get("SSEType", "KMS")}
        if key := encryption.get("KMSMasterKeyId"):
            request["KMSMasterKeyId"] = key
        table["SSEDescription"] = dynamodb._sse_description_from_spec(request)
    table["DeletionProtectionEnabled"] = is_true(props.get("DeletionProtectionEnabled"))


def install() -> None:
    """Apply the settings after the table itself."""
    after_create_and_update("AWS::DynamoDB::Table", apply_settings)
