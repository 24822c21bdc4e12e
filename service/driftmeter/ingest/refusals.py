"""Every way a request is refused, with its status on both transports, by the OTLP specification 1.11 ("Failures").

Collectors drop a request for good on INTERNAL, UNKNOWN, INVALID_ARGUMENT, UNAUTHENTICATED and on RESOURCE_EXHAUSTED
without RetryInfo, over HTTP on every status but 429, 502, 503 and 504. They try again on UNAVAILABLE and 503.
"""

from http import HTTPStatus

import grpc

from driftmeter.errors import DriftmeterError
from driftmeter.telemetry.metrics import RefusalReason, RequestResult

RETRY_AFTER_SECONDS = 1
"""When senders that are told to try again should do so; they add a back-off of their own."""


class RefusedError(DriftmeterError):
    """A request that is not taken.

    Args:
        result: What it is counted as.
        status: Its statuses over gRPC and over HTTP.
        message: Why, for the sender's operator.
        reason: Why the sender should try again; None when it should not.
        headers: Further HTTP headers, by name in lower case.
    """

    def __init__(
        self,
        result: RequestResult,
        status: tuple[grpc.StatusCode, HTTPStatus],
        message: str,
        *,
        reason: RefusalReason | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.result = result
        self.code, self.http_status = status
        self.message = message
        self.reason = reason
        self.headers = headers or {}

    @property
    def retry_after_seconds(self) -> int | None:
        """When to try again; None for never."""
        return None if self.reason is None else RETRY_AFTER_SECONDS


def unavailable(reason: RefusalReason, message: str) -> RefusedError:
    """Try again later."""
    status = (grpc.StatusCode.UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE)
    return RefusedError(RequestResult.UNAVAILABLE, status, message, reason=reason)


def malformed(message: str) -> RefusedError:
    """What was sent is not what it is said to be."""
    return RefusedError(RequestResult.MALFORMED, (grpc.StatusCode.INVALID_ARGUMENT, HTTPStatus.BAD_REQUEST), message)


def too_large(message: str) -> RefusedError:
    """More than the limit; the sender should make smaller batches."""
    status = (grpc.StatusCode.RESOURCE_EXHAUSTED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return RefusedError(RequestResult.TOO_LARGE, status, f"{message}: send smaller batches")


def unauthenticated() -> RefusedError:
    """No bearer token, or one that is not valid (any more). The message does not say which."""
    status = (grpc.StatusCode.UNAUTHENTICATED, HTTPStatus.UNAUTHORIZED)
    headers = {"www-authenticate": "Bearer"}
    return RefusedError(RequestResult.UNAUTHENTICATED, status, "a valid bearer token is needed", headers=headers)


def unsupported(http_status: HTTPStatus, message: str, **headers: str) -> RefusedError:
    """Over HTTP: another path, method, content type or content encoding than those that are taken."""
    status = (grpc.StatusCode.UNIMPLEMENTED, http_status)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RefusedError(RequestResult.UNSUPPORTED, status, message, headers=named)
