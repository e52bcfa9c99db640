"""`python -m local.group_rate`: how many events a second dynamic groups follow.

In a cloud of its own, the queue of what happened to devices is filled while
nobody takes from it: shadows that lights report, among definitions that they
enter one after the other. Then the time is taken until it is empty. Beside it,
the same messages in a queue whose function does nothing are the emulator's own
ceiling: it hands out messages, and is the registry besides, in one process.
"""

from __future__ import annotations

import io
import json
import sys
import time
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

from local import demo_cloud
from local.clients import client
from local.settings import DEFAULT_STATE_DIR, StateDir

LIGHTS = 200
MESSAGES = 4000
DEFINITIONS = 100
TURNS = 3
BATCH, WINDOW = 100, 1

ECHO = """
def handler(event, context):
    return {"batchItemFailures": []}
"""


def messages(lights: list[str], first: int) -> Iterator[str]:
    """Shadows of the lights in turn, each as its rule puts it into the queue."""
    now = int(time.time())
    for number in range(MESSAGES):
        light = lights[number % len(lights)]
        yield json.dumps({
            "state": {"reported": {"x": number % 7, "place": "somewhere", "hours": number}},
            "version": first + number, "timestamp": now, "topic": f"$aws/things/{light}/shadow/update/documents",
        })


def fill(sqs: Any, queue: str, bodies: list[str]) -> None:
    for start in range(0, len(bodies), 10):
        sqs.send_message_batch(QueueUrl=queue, Entries=[
            {"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies[start:start + 10])])


def seconds_to_empty(endpoint: str, queue: str, mapping: str, bodies: list[str]) -> float:
    """How long it takes once the function may take from the queue."""
    sqs, lambdas = client("sqs", endpoint), client("lambda", endpoint)
    lambdas.update_event_source_mapping(UUID=mapping, Enabled=False)
    fill(sqs, queue, bodies)
    started = time.monotonic()
    lambdas.update_event_source_mapping(UUID=mapping, Enabled=True)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    while any(int(sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"][n]) for n in names):
        time.sleep(0.05)
    return time.monotonic() - started


def mapping_of(endpoint: str, function: str) -> str:
    found = client("lambda", endpoint).list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
    return found[0]["UUID"]


def echo(endpoint: str, role: str) -> tuple[str, str]:
    """A queue with a function that does nothing, fed as the stack's own is."""
    sqs, lambdas, name = client("sqs", endpoint), client("lambda", endpoint), f"echo-{uuid.uuid4().hex[:8]}"
    queue = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "180"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("echo.py", ECHO)
    lambdas.create_function(FunctionName=name, Runtime="python3.11", Role=role, Handler="echo.handler", Timeout=30,
                            Code={"ZipFile": code.getvalue()})
    made = lambdas.create_event_source_mapping(
        EventSourceArn=arn, FunctionName=name, BatchSize=BATCH, MaximumBatchingWindowInSeconds=WINDOW,
        FunctionResponseTypes=["ReportBatchItemFailures"])
    return queue, made["UUID"]


def lights_in(outputs: dict[str, Any]) -> list[str]:
    """Lights of our own, and definitions that their shadows go in and out of."""
    endpoint, lambdas = outputs["aws_endpoint"], client("lambda", outputs["aws_endpoint"])
    stack, prefix = outputs["stack"], f"rate-{uuid.uuid4().hex[:8]}"
    catalog = {"name": prefix, "dynamicGroups": [
        {"name": f"{prefix}-{n:03}", "query": f"thingName:{prefix}* AND shadow.reported.hours>={n * 40}"}
        for n in range(DEFINITIONS)]}
    applied = _http(lambdas, stack["ApplyCatalogFunction"], "PUT /catalog", catalog)
    assert applied["status"] == "DONE", applied
    names = [f"{prefix}-{n:02}" for n in range(LIGHTS)]
    for name in names:
        _http(lambdas, stack["CreateDeviceFunction"], "POST /devices", {"thingName": name})
    registry = client("dynamodb", endpoint)
    for name in names:
        key = {"PK": {"S": f"DEVICE#{name}"}, "SK": {"S": "DOCUMENT"}}
        while "Item" not in registry.get_item(TableName=stack["TableName"], Key=key):
            time.sleep(0.1)
    return names


def _http(lambdas: Any, function: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
    """Asks a function as its route does."""
    method, path = route.split()
    event = {"version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": "", "headers": {},
             "requestContext": {"http": {"method": method, "path": path}}, "body": json.dumps(body),
             "isBase64Encoded": False}
    answer = json.load(lambdas.invoke(FunctionName=function, Payload=json.dumps(event))["Payload"])
    assert answer.get("statusCode", 500) < 300, answer
    return json.loads(answer["body"])


def measure(outputs: dict[str, Any]) -> None:
    """Print a line for each function and turn."""
    endpoint, stack = outputs["aws_endpoint"], outputs["stack"]
    lights = lights_in(outputs)
    role = client("lambda", endpoint).get_function_configuration(FunctionName=stack["EvaluateGroupsFunction"])["Role"]
    ours = mapping_of(endpoint, stack["EvaluateGroupsFunction"])
    for label, (queue, mapping) in {
        "evaluate-groups": (stack["DeviceChangesQueue"], ours), "nothing": echo(endpoint, role),
    }.items():
        for turn in range(1, TURNS + 1):
            seconds = seconds_to_empty(endpoint, queue, mapping, list(messages(lights, turn * MESSAGES)))
            print(f"{label}: {MESSAGES} events in {seconds:.1f} s, {MESSAGES / seconds:.0f} a second", flush=True)


def main() -> int:
    """0 is that all of it was measured."""
    state = StateDir(DEFAULT_STATE_DIR / "rate")
    demo_cloud.clear(state)
    try:
        if demo_cloud.cloud(state, "up") != 0:
            return 1
        measure(json.loads(state.outputs_file.read_text()))
    finally:
        demo_cloud.clear(state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
