"""The refusals of the IoT API, by the names and status codes of its model."""

from __future__ import annotations

from ministack.core.responses import error_response_json

from local.iot_routes import Response


def invalid(message: str) -> Response:
    return error_response_json("InvalidRequestException", message, 400)


def not_found(message: str) -> Response:
    return error_response_json("ResourceNotFoundException", message, 404)


def already_exists(message: str) -> Response:
    return error_response_json("ResourceAlreadyExistsException", message, 409)


def version_conflict(message: str) -> Response:
    return error_response_json("VersionConflictException", message, 409)


def malformed_policy(message: str) -> Response:
    return error_response_json("MalformedPolicyException", message, 400)


def versions_limit_exceeded(message: str) -> Response:
    return error_response_json("VersionsLimitExceededException", message, 409)


def limit_exceeded(message: str) -> Response:
    return error_response_json("LimitExceededException", message, 410)


def certificate_state(message: str) -> Response:
    return error_response_json("CertificateStateException", message, 406)


def certificate_invalid(message: str) -> Response:
    return error_response_json("CertificateValidationException", message, 400)
