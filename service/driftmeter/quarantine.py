"""Requests that the service could not digest, kept in memory for a look at them."""

from collections import deque
from dataclasses import dataclass, field

from driftmeter.model.request import Request

QUARANTINE_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of requests kept; the oldest go first."""


@dataclass(eq=False)
class Quarantine:
    """The newest requests that could not be digested, at most `QUARANTINE_BYTES_MAX`, but always the last one."""

    requests: deque[Request] = field(default_factory=deque)
    size_bytes: int = 0

    def add(self, request: Request) -> None:
        """Keep a request."""
        self.requests.append(request)
        self.size_bytes += len(request.body)
        while len(self.requests) > 1 and self.size_bytes > QUARANTINE_BYTES_MAX:
            self.size_bytes -= len(self.requests.popleft().body)
