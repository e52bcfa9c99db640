"""A fleet whose jobs are measured: lights that answer without running."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from local import demo_cloud
from local.clients import client
from local.costs import Call, CallsOf
from local.demo_cloud import EXAMPLE
from local.settings import StateDir

OLD, NEW = "2.0.0", "2.1.0"
OUTDATED = "outdated-firmware"
# So many lights answer within a second where AWS tells a thousand a minute.
A_SECOND = 17
PATIENCE_SECONDS = 300


class Queues:
    """The queues that functions are fed from.

    AWS has a function wait for a second's messages, and hands them over at once
    ("Batching behavior", Lambda Developer Guide); the emulator hands over each as
    it comes.
    """

    def __init__(self, endpoint: str) -> None:
        self._lambda, self._sqs = client("lambda", endpoint), client("sqs", endpoint)
        pages = self._lambda.get_paginator("list_event_source_mappings").paginate()
        mappings = [each for page in pages for each in page["EventSourceMappings"]]
        self._fed = {each["UUID"]: each["EventSourceArn"] for each in mappings if ":sqs:" in each["EventSourceArn"]}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hand over what comes meanwhile once it has all come, and wait until it is taken."""
        self._feed(False)
        yield
        self._feed(True)
        for arn in self._fed.values():
            queue = self._sqs.get_queue_url(QueueName=arn.rsplit(":", 1)[-1])["QueueUrl"]
            while self._waiting(queue):
                time.sleep(0.1)

    def _feed(self, on: bool) -> None:
        for mapping in self._fed:
            self._lambda.update_event_source_mapping(UUID=mapping, Enabled=on)

    def _waiting(self, queue: str) -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counted = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return any(int(counted[name]) for name in names)


class Fleet:
    """Lights of the example, in groups of their own; none has a process."""

    def __init__(self, state: StateDir) -> None:
        self._outputs = json.loads(state.outputs_file.read_text())
        self._scratch = demo_cloud.fresh_scratch(state)
        self._lamp = demo_cloud.Lamp(state.outputs_file, self._scratch / "keys")
        endpoint = self._outputs["aws_endpoint"]
        self._iot, self._data = client("iot", endpoint), client("iot-data", endpoint)
        self._jobs, self._s3 = client("iot-jobs-data", endpoint), client("s3", endpoint)
        self._calls, self._queues = CallsOf(self._outputs), Queues(endpoint)
        self._image = self._upload()

    def create(self, groups: dict[str, int]) -> None:
        """So many lights in each group, all with an old firmware."""
        catalog = yaml.safe_load((EXAMPLE / "catalog.yaml").read_text())
        catalog["groups"] += [{"name": name, "policies": ["streetlight"]} for name in groups]
        file = self._scratch / "catalog.yaml"
        file.write_text(yaml.safe_dump(catalog))
        self._run("catalog", "apply", file)
        names = {group: [f"{group}-{n:03}" for n in range(count)] for group, count in groups.items()}
        self._run("device", "create", "--from", self._list(names), "--keys-dir", self._scratch / "keys")
        lights = [light for some in names.values() for light in some]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda light: self._report(light, OLD), lights))
        self._until(f"{len(lights)} lights in {OUTDATED}", lambda: self._outdated() == len(lights))

    def job(self, group: str, waves: list[int]) -> tuple[list[Call], int]:
        """One job to a group, to its end: what the functions called, and the workflow's transitions."""
        self._calls.clear()
        sizes = [argument for size in waves for argument in ("--wave", size)]
        run = ("job", "run", "firmware", "-p", f"version={NEW}", "-p", f"image={self._image}", "--group", group)
        job = self._run(*run, *sizes, "--per-minute", 1000)["jobId"]
        self._until(f"the end of {job}", lambda: self._ended(job))
        self._calls.settle()
        calls = self._calls.read()
        runs = self._executions(job)
        return calls, sum(self._calls.transitions("RolloutWorkflowArn", run) for run in runs)

    def _ended(self, job: str) -> bool:
        """Whether it has; those who are told of it answer."""
        seen = self._run("job", "show", job)
        if wave := seen.get("wave", {}).get("jobId"):
            lights = list(self._queued(wave))
            for first in range(0, len(lights), A_SECOND):
                with self._queues.held():
                    for light in lights[first:first + A_SECOND]:
                        self._carry_out(wave, light)
        if seen["status"] in ("PAUSED", "STOPPED"):
            raise SystemExit(f"{job} did not go well: {seen}")
        return seen["status"] == "DONE"

    def _queued(self, wave: str) -> Iterator[str]:
        pages = self._iot.get_paginator("list_job_executions_for_job").paginate(jobId=wave, status="QUEUED")
        try:
            for page in pages:
                yield from (each["thingArn"].rsplit("/", 1)[-1] for each in page["executionSummaries"])
        except self._iot.exceptions.ResourceNotFoundException:
            # The wave has no job yet.
            return

    def _carry_out(self, wave: str, light: str) -> None:
        """What a light does: it begins, is done, and reports what it runs."""
        for status in ("IN_PROGRESS", "SUCCEEDED"):
            self._jobs.update_job_execution(jobId=wave, thingName=light, status=status)
        self._report(light, NEW)

    def _report(self, light: str, version: str) -> None:
        payload = json.dumps({"state": {"reported": {"firmware_version": version}}})
        self._data.update_thing_shadow(thingName=light, payload=payload)

    def _outdated(self) -> int:
        return self._run("group", "show", OUTDATED).get("members", 0)

    def _executions(self, job: str) -> list[str]:
        """The runs of a job's workflow."""
        pages = client("stepfunctions", self._outputs["aws_endpoint"]).get_paginator("list_executions")
        pages = pages.paginate(stateMachineArn=self._outputs["stack"]["RolloutWorkflowArn"])
        return [each["name"] for page in pages for each in page["executions"] if each["name"].startswith(job)]

    def _upload(self) -> str:
        bucket, key = self._outputs["stack"]["JobBucket"], "firmware.bin"
        self._s3.put_object(Bucket=bucket, Key=key, Body=b"the firmware", ChecksumAlgorithm="SHA256")
        return f"s3://{bucket}/{key}"

    def _list(self, names: dict[str, list[str]]) -> Path:
        file = self._scratch / "lights.csv"
        with file.open("w", newline="") as csv_file:
            writer = csv.writer(csv_file)
            writer.writerow(["thingName", "thingType", "groups"])
            writer.writerows((light, "streetlight", group) for group, lights in names.items() for light in lights)
        return file

    def _run(self, *arguments: object) -> dict[str, Any]:
        answer = self._lamp(*arguments)
        # A job that has been started is pending.
        if answer.exit not in (0, 4):
            raise SystemExit(f"lamp {' '.join(map(str, arguments))}: {answer.documents} {answer.stderr}")
        return answer.document

    @staticmethod
    def _until(what: str, ready: Any) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise SystemExit(f"never came: {what}")
            time.sleep(0.5)
