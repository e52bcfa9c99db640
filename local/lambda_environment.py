"""Each execution environment gets AWS's variables, its own, and credentials of its own.

AWS rules restored: "Defined runtime environment variables" (the process sees
those and the function's configuration, not the host's environment) and
"Defining Lambda function permissions with an execution role" (every
environment acts as a session of the function's role, named after the
function). The emulator hands its own environment on, and gives all
environments of a function one access key; here the key tells which
environment made a call.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc, sts

PLATFORM_VARIABLES = {
    "AWS_EXECUTION_ENV": "AWS_Lambda_provided.al2023",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "LANG": "en_US.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "TZ": ":UTC",
}
GIVEN_BY_EMULATOR = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ENDPOINT_URL",
    "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT", "_HANDLER", "AWS_DISABLE_HOST_PREFIX_INJECTION",
)

_spawning = threading.local()
_by_access_key: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def worker_of(access_key: str) -> Any | None:
    """The execution environment that was given this access key."""
    return _by_access_key.get(access_key)


def _fresh_credentials(config: dict[str, Any]) -> dict[str, str]:
    """A session of the function's role, as the emulator would make it, under a key of its own."""
    shared = _shared_credentials(config)
    session = dict(sts._sessions[shared["AWS_ACCESS_KEY_ID"]])
    session["SecretAccessKey"] = secrets.token_hex(20)
    session["SessionToken"] = secrets.token_hex(32)
    access_key = f"ASIA{secrets.token_hex(8).upper()}"
    sts.register_session(access_key, session)
    return {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"],
        "AWS_SESSION_TOKEN": session["SessionToken"],
    }


def _worker_env(config: dict[str, Any], code_dir: str, port: int) -> dict[str, str]:
    given = _emulator_env(config, code_dir, port)
    own = (config.get("Environment") or {}).get("Variables") or {}
    environment = {
        **PLATFORM_VARIABLES,
        **{name: given[name] for name in GIVEN_BY_EMULATOR if name in given},
        **{name: given[name] for name in own},
        **_fresh_credentials(config),
    }
    worker = getattr(_spawning, "worker", None)
    if worker is not None:
        _by_access_key[environment["AWS_ACCESS_KEY_ID"]] = worker
    return environment


def _spawn(self: Any, *args: Any, **kwargs: Any) -> None:
    _spawning.worker = self
    try:
        _emulator_spawn(self, *args, **kwargs)
    finally:
        _spawning.worker = None


def install() -> None:
    """Take over how an environment's process variables are made."""
    lambda_svc._provided_worker_env = _worker_env
    lambda_runtime.ProvidedWorker._spawn = _spawn


_emulator_env = lambda_svc._provided_worker_env
_emulator_spawn = lambda_runtime.ProvidedWorker._spawn
_shared_credentials = lambda_runtime.execution_credentials
