"""What a Distributed Map hands on.

AWS Step Functions Developer Guide, "ResultWriter (Map)": with a `Resource` the
children's results go to S3 as the state machine's role, one file for each
status beside a `manifest.json`, and the state's result says where; what cannot
be written is `States.ResultWriterFailed`. `WriterConfig` says in which form:
NONE (the default in S3) tells of each child, COMPACT (the default without S3)
has its output alone, FLATTEN takes arrays apart. A child that failed is always
told of whole.
"""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import stepfunctions

from local.roles import client_as
from local.workflow_role import current_role

Child = dict[str, Any]

STATUSES = {"SUCCEEDED": ("SUCCEEDED",), "FAILED": ("FAILED", "TIMED_OUT", "ABORTED"), "PENDING": ("PENDING",)}


def result(writer: dict[str, Any], children: list[Child], run_arn: str, effective: Any, ctx: dict[str, Any]) -> Any:
    """The state's result; written to S3 first where that is asked for."""
    config = writer.get("WriterConfig") or {}
    if "Resource" not in writer:
        return _transformed(children, config.get("Transformation", "COMPACT"))
    where = stepfunctions._resolve_params_obj(writer.get("Parameters") or {}, effective, ctx)
    try:
        key = _write(where, children, run_arn, config)
    except (ClientError, BotoCoreError, KeyError) as failure:
        raise stepfunctions._ExecutionError("States.ResultWriterFailed", str(failure)) from failure
    return {"MapRunArn": run_arn, "ResultWriterDetails": {"Bucket": where["Bucket"], "Key": key}}


def _write(where: dict[str, Any], children: list[Child], run_arn: str, config: dict[str, Any]) -> str:
    """Write everything; the manifest's key."""
    s3, bucket = client_as(current_role(), "s3"), where["Bucket"]
    folder = "/".join(part for part in (where.get("Prefix", "").strip("/"), run_arn.rsplit(":", 1)[1]) if part)
    kind = config.get("OutputType", "JSON")
    files: dict[str, list[dict[str, Any]]] = {}
    for name, statuses in STATUSES.items():
        chosen = [child for child in children if child["status"] in statuses]
        files[name] = []
        if chosen:
            key = f"{folder}/{name}_0.{kind.lower()}"
            body = _text(_transformed(chosen, config.get("Transformation", "NONE")), kind)
            s3.put_object(Bucket=bucket, Key=key, Body=body)
            files[name].append({"Key": key, "Size": len(body)})
    manifest = f"{folder}/manifest.json"
    s3.put_object(Bucket=bucket, Key=manifest, Body=json.dumps(
        {"DestinationBucket": bucket, "MapRunArn": run_arn, "ResultFiles": files}).encode())
    return manifest


def _text(results: list[Any], kind: str) -> bytes:
    if kind == "JSONL":
        return "".join(f"{json.dumps(each)}\n" for each in results).encode()
    return json.dumps(results).encode()


def _transformed(children: list[Child], how: str) -> list[Any]:
    results: list[Any] = []
    for child in children:
        if how == "NONE" or child["status"] != "SUCCEEDED":
            results.append(_told(child))
            continue
        output = json.loads(child["output"])
        results.extend(output if how == "FLATTEN" and isinstance(output, list) else [output])
    return results


def _told(child: Child) -> dict[str, Any]:
    """A child execution as the files tell of it."""
    told = {
        "ExecutionArn": child["executionArn"],
        "Input": child["input"],
        "InputDetails": {"Included": True},
        "Name": child["name"],
        "Output": child.get("output"),
        "OutputDetails": {"Included": True},
        "Error": child.get("error"),
        "Cause": child.get("cause"),
        "StartDate": child["startDate"],
        "StateMachineArn": child["stateMachineArn"],
        "Status": child["status"],
        "StopDate": child.get("stopDate"),
    }
    return {name: value for name, value in told.items() if value is not None}
