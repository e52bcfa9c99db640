"""What a Distributed Map goes over: its items, read and grouped.

AWS Step Functions Developer Guide, "ItemReader (Map)": objects are read as the
state machine's role, and a data set that cannot be read is
`States.ItemReaderFailed`; "ItemSelector (Map)"; "ItemBatcher (Map)": items in
groups of `MaxItemsPerBatch`, or as many as `MaxInputBytesPerBatch` take, each
group being `{"Items": [...]}` with the same `BatchInput`.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import stepfunctions

from local.roles import client_as
from local.workflow_role import current_role

State = dict[str, Any]
Context = dict[str, Any]


def read(state: State, effective: Any, ctx: Context) -> list[Any]:
    """The items, in order."""
    reader = state.get("ItemReader")
    if reader is None:
        items = stepfunctions._resolve_path_or_ctx(state.get("ItemsPath", "$"), effective, ctx)
    else:
        try:
            items = _read(reader, effective, ctx)
        except (ClientError, BotoCoreError, ValueError, KeyError, IndexError, TypeError) as failure:
            raise stepfunctions._ExecutionError("States.ItemReaderFailed", str(failure)) from failure
    if not isinstance(items, list):
        error = "States.Runtime" if reader is None else "States.ItemReaderFailed"
        raise stepfunctions._ExecutionError(error, "Attempting to map over non-iterable node.")
    return items


def inputs(state: State, items: list[Any], effective: Any, ctx: Context) -> list[tuple[Any, int]]:
    """The input of each child execution, and how many items are in it."""
    selected = [_selected(state, index, item, effective, ctx) for index, item in enumerate(items)]
    batcher = state.get("ItemBatcher")
    if batcher is None:
        return [(item, 1) for item in selected]
    head = {}
    if "BatchInput" in batcher:
        head["BatchInput"] = stepfunctions._resolve_params_obj(batcher["BatchInput"], effective, ctx)
    most_items = number(batcher, "MaxItemsPerBatch", effective, ctx)
    most_bytes = number(batcher, "MaxInputBytesPerBatch", effective, ctx)
    return [({**head, "Items": batch}, len(batch)) for batch in _batches(selected, head, most_items, most_bytes)]


def number(config: State, name: str, effective: Any, ctx: Context) -> float | None:
    """A field that may be given by a path instead."""
    if path := config.get(f"{name}Path"):
        return stepfunctions._resolve_path_or_ctx(path, effective, ctx)
    return config.get(name)


def _read(reader: State, effective: Any, ctx: Context) -> Any:
    where = stepfunctions._resolve_params_obj(reader.get("Parameters") or {}, effective, ctx)
    config = reader.get("ReaderConfig") or {}
    s3 = client_as(current_role(), "s3")
    if reader.get("Resource", "").endswith("s3:listObjectsV2"):
        items = _listed(s3, where)
    else:
        text = s3.get_object(Bucket=where["Bucket"], Key=where["Key"])["Body"].read().decode()
        items = stepfunctions._parse_reader_items(text, config)
    most = number(config, "MaxItems", effective, ctx)
    return items[:int(most)] if most and isinstance(items, list) else items


def _listed(s3: Any, where: State) -> list[State]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=where["Bucket"], Prefix=where.get("Prefix", ""))
    return [
        {"Etag": each["ETag"], "Key": each["Key"], "LastModified": int(each["LastModified"].timestamp()),
         "Size": each["Size"], "StorageClass": each.get("StorageClass", "STANDARD")}
        for page in pages for each in page.get("Contents", [])
    ]


def _selected(state: State, index: int, item: Any, effective: Any, ctx: Context) -> Any:
    selector = state.get("ItemSelector") or state.get("Parameters")
    if selector is None:
        return item
    item_ctx = {**ctx, "Map": {"Item": {"Index": index, "Value": copy.deepcopy(item)}}}
    return stepfunctions._resolve_params_obj(selector, effective, item_ctx)


def _batches(items: list[Any], head: State, most_items: float | None, most_bytes: float | None) -> list[list[Any]]:
    batches: list[list[Any]] = []
    for item in items:
        fits = bool(batches)
        if fits and most_items is not None:
            fits = len(batches[-1]) < most_items
        if fits and most_bytes is not None:
            fits = len(json.dumps({**head, "Items": [*batches[-1], item]}).encode()) <= most_bytes
        if fits:
            batches[-1].append(item)
        else:
            batches.append([item])
    return batches
