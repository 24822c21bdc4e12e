"""What both transports share: who may come in, how much at a time, and what becomes of everything that goes wrong."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from driftmeter.clock import Clock
from driftmeter.errors import DiskFullError, MalformedError, TransientError
from driftmeter.ingest.admission import Admission, Lease
from driftmeter.ingest.config import IngestConfig
from driftmeter.ingest.refusals import RefusedError, malformed, too_large, unauthenticated, unavailable
from driftmeter.ingest.tokens import BearerTokens
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.telemetry.logs import RateLimitedLog
from driftmeter.telemetry.metrics import RefusalReason, RequestResult, Telemetry

Sink = Callable[[Request], Awaitable[Receipt]]
"""Takes a request; raises MalformedError when its body is not what it should be."""

_LOG = logging.getLogger(__name__)


class Door:
    """Checks, admits, hands on and counts requests, however they arrive.

    Args:
        config: Limits and credentials.
        sink: What to do with a request.
        telemetry: Where requests are counted.
        clock: The time.

    Raises:
        ConfigError: The file of tokens cannot be used.
    """

    def __init__(self, config: IngestConfig, sink: Sink, telemetry: Telemetry, clock: Clock) -> None:
        self.max_request_bytes = config.max_request_bytes
        self.asks_for_tokens = config.bearer_tokens_file is not None
        self._tokens = BearerTokens(config.bearer_tokens_file, telemetry, clock) if config.bearer_tokens_file else None
        self._admission = Admission(config.max_in_flight_bytes, config.max_client_share, telemetry, clock)
        self._sink = sink
        self._telemetry = telemetry
        self._log = RateLimitedLog(_LOG, clock)

    def stop(self) -> None:
        """Tell those who come from now on to try again; requests in flight may end."""
        self._admission.stop()

    def authenticate(self, authorization: str | None) -> None:
        """Check an `Authorization` header; raises RefusedError when a token is needed and it holds no valid one."""
        if self._tokens is not None and not self._tokens.allow(authorization):
            raise unauthenticated()

    def lease(self, client: str) -> Lease:
        """Room in flight for one request of a client."""
        return self._admission.lease(client)

    def check_size(self, size_bytes: int) -> None:
        """Raises RefusedError for a request of more bytes than are taken."""
        if size_bytes > self.max_request_bytes:
            raise too_large(f"request of {size_bytes} bytes, the limit is {self.max_request_bytes}")

    async def hand_on(self, request: Request) -> Receipt:
        """Give an admitted request to the sink."""
        return await self._sink(request)

    def count_bytes(self, size_bytes: int) -> None:
        """Count bytes that arrived, as they are when decompressed."""
        self._telemetry.received_bytes.add(size_bytes)

    async def answer(self, work: Awaitable[Receipt], encode: Callable[[Receipt], bytes]) -> bytes | RefusedError:
        """Await what is done with one request, count how it ends, and turn whatever goes wrong into a refusal.

        Args:
            work: All that is done with it, from the first check on.
            encode: Makes the body of a success.

        Raises:
            CancelledError: The sender has gone, or the service does.
        """
        try:
            receipt = await work
            body = encode(receipt)
        except RefusedError as error:
            refusal = error.with_traceback(None)  # The frames of a trace would keep the request's bytes.
        except MalformedError as error:
            refusal = malformed(str(error))
        except TransientError as error:
            reason = RefusalReason.DISK_FULL if isinstance(error, DiskFullError) else RefusalReason.JOURNAL_FAILED
            self._log.warning(reason, "requests are refused", reason=str(error))
            refusal = unavailable(reason, f"{error}: try again")
        except asyncio.CancelledError:
            self._telemetry.requests.add(result=RequestResult.CANCELLED)
            raise
        except Exception:  # noqa: BLE001 - what escaped from a handler would be UNKNOWN or a 500: lost at the sender.
            _LOG.exception("a request failed on the way in: its sender is told to try again")
            refusal = unavailable(RefusalReason.EXCEPTION, "internal error; the service's log says more: try again")
        else:
            self._telemetry.requests.add(result=RequestResult.PARTIAL if receipt.rejected_spans else RequestResult.OK)
            return body
        self._telemetry.requests.add(result=refusal.result)
        if refusal.reason is not None:
            self._telemetry.requests_refused.add(reason=refusal.reason)
        return refusal
