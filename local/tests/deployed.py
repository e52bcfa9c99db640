"""The test stack in the session's emulator, and ways to use it."""

from __future__ import annotations

import json
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local import deploy, outputs
from local.process import Emulator
from local.settings import StateDir

if TYPE_CHECKING:
    from local.tests.conftest import Cloud

STACK = Path(__file__).parent / "stack"


@dataclass(frozen=True)
class Stack:
    """What the test stack is made of, and callers for its functions."""

    cloud: Cloud
    outputs: dict[str, Any]
    deployment: deploy.Deployment
    state: StateDir

    def as_caller(self, **outputs: Any) -> Stack:
        """The same stack with other outputs: another caller, another API."""
        return replace(self, outputs={**self.outputs, **outputs})

    def as_root(self) -> Stack:
        """The same stack, called by the account's root."""
        return self.as_caller(access_key_id="test", secret_access_key="test", session_token=None)

    def __getitem__(self, name: str) -> str:
        return self.outputs["stack"][name]

    def invoke(self, function: str, event: dict[str, Any], trace: str | None = None) -> tuple[Any, str | None]:
        """The function's answer, and the FunctionError where it failed."""
        client = self.cloud.client("lambda")
        if trace is not None:
            client.meta.events.register(
                "before-call.lambda.Invoke",
                lambda params, **_: params["headers"].__setitem__("X-Amzn-Trace-Id", f"Root={trace}"))
        reply = client.invoke(FunctionName=self[function], Payload=json.dumps(event).encode())
        return json.loads(reply["Payload"].read()), reply.get("FunctionError")

    def calls(self, function: str, *calls: Any, trace: str | None = None) -> list[dict[str, Any]]:
        """What the function got for these calls: `(service, method, parameters)` each."""
        answer, error = self.invoke(function, {"do": "calls", "calls": calls}, trace)
        assert error is None, answer
        return answer["results"]

    def request(self, method: str, path: str, *, signed: bool = True, body: Any = None,
                headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """A request of the API, signed as the caller's role."""
        data = None if body is None else json.dumps(body)
        request = AWSRequest(method, self.outputs["api_url"] + path, data=data,
                             headers={"Content-Type": "application/json", **(headers or {})})
        if signed:
            SigV4Auth(Credentials(self.outputs["access_key_id"], self.outputs["secret_access_key"],
                                  self.outputs["session_token"]), "execute-api", self.cloud.region).add_auth(request)
        return send(urllib.request.Request(request.url, data=None if data is None else data.encode(),
                                           headers=dict(request.headers.items()), method=method))

    def permission(self, method: str) -> str:
        """The statement that lets the API invoke the function for this method."""
        policy = json.loads(self.cloud.client("lambda").get_policy(FunctionName=self["Probe"])["Policy"])
        return next(each["Sid"] for each in policy["Statement"] if f"/{method}/" in json.dumps(each["Condition"]))

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """The fault layer's control endpoint."""
        data = None if body is None else json.dumps(body).encode()
        status, answer = send(urllib.request.Request(
            f"{self.cloud.endpoint}/_lamplighter/{path}", data=data, method=method))
        assert status == 200, answer
        return answer


def send(request: urllib.request.Request) -> tuple[int, Any]:
    """Status and JSON, whether it succeeded or not."""
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def deploy_stack(cloud: Cloud, state: StateDir, folder: Path, name: str = "patches") -> Stack:
    """Deploy the test stack with this interpreter as its runtime."""
    shutil.copytree(STACK, folder)
    bootstrap = folder / "function" / "bootstrap"
    bootstrap.write_text(bootstrap.read_text().replace("/usr/bin/env python3", sys.executable, 1))
    deployment = deploy.Deployment(cloud.endpoint, folder / "template.yaml", name, {})
    stack = deploy.deploy(deployment, state)
    port = int(cloud.endpoint.rsplit(":", 1)[1])
    return Stack(cloud, outputs.write(state, Emulator(0, "", port, cloud.mqtt_port), stack), deployment, state)
