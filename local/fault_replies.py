"""Replies that a service gives in trouble, in its own protocol."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """A whole HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes


def throttled(scope: str) -> Reply:
    """Too many requests."""
    if scope == "s3":
        return _xml(503, "SlowDown", "Please reduce your request rate.")
    status = 429 if scope.startswith("iot") or scope == "lambda" else 400
    return _json(status, "ThrottlingException", "Rate exceeded")


def denied(scope: str) -> Reply:
    """The caller may not."""
    if scope == "s3":
        return _xml(403, "AccessDenied", "Access Denied")
    status = 403 if scope.startswith("iot") or scope == "lambda" else 400
    return _json(status, "AccessDeniedException", "User is not authorized to perform this action")


def failed(scope: str) -> Reply:
    """The service broke."""
    match scope:
        case "s3":
            return _xml(500, "InternalError", "We encountered an internal error. Please try again.")
        case "dynamodb":
            name = "InternalServerError"
        case "iot" | "iotdata":
            name = "InternalFailureException"
        case "kms":
            name = "KMSInternalException"
        case _:
            name = "InternalFailure"
    return _json(500, name, "An internal error occurred.")


def pretended(scope: str) -> Reply:
    """Success, of something that was not done."""
    if scope == "s3":
        return Reply(200, {"content-type": "application/xml", "etag": '"0"'}, b"")
    return Reply(200, {"content-type": "application/x-amz-json-1.0"}, b"{}")


def _json(status: int, name: str, message: str) -> Reply:
    body = json.dumps({"__type": name, "message": message}).encode()
    return Reply(status, {"content-type": "application/x-amz-json-1.0", "x-amzn-errortype": name}, body)


def _xml(status: int, code: str, message: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Reply(status, {"content-type": "application/xml"}, body.encode())
