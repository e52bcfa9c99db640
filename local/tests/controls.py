"""The control endpoint, as tests use it."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from local.tests.conftest import Cloud
from local.tests.deployed import send


def control(cloud: Cloud, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    return send(urllib.request.Request(f"{cloud.endpoint}/_lamplighter/{path}", data=data, method=method))
