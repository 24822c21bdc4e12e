"""Faults put in everywhere on the way in: no sender gets INTERNAL, UNKNOWN or 500, on which it would drop."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from driftmeter.errors import BaselineError, ConfigError
from driftmeter.ingest import grpc_server, http_app
from driftmeter.ingest.admission import Admission, Lease
from driftmeter.ingest.body import Body
from driftmeter.ingest.door import Door
from driftmeter.ingest.tokens import BearerTokens
from driftmeter.ingest.worker import Worker
from driftmeter.model.receipt import Receipt
from driftmeter.model.request import Request
from driftmeter.telemetry.metrics import RefusalReason, RequestResult
from otlp_samples import usual_request
from receiving import JSON, PROTOBUF, Kept, Receiving, receiving, run

ANY = usual_request(2)
FAULTS = [RuntimeError, ValueError, KeyError, MemoryError, RecursionError, AssertionError, OSError, TimeoutError,
          StopIteration, StopAsyncIteration, ConfigError, BaselineError]  # fmt: skip

BOTH = [
    (Door, "authenticate"), (Door, "lease"), (Door, "count_bytes"), (Door, "hand_on"), (Admission, "lease"),
    (Lease, "grow"), (Lease, "__enter__"), (Lease, "__exit__"), (BearerTokens, "allow"),
]  # fmt: skip
GRPC = [(Door, "check_size"), (grpc_server, "_client_of"), (grpc_server, "_authorization"), (grpc_server, "success")]
HTTP = [
    (Body, "read"), (Body, "_pieces"), (http_app.HttpApp, "_work_on"), (Worker, "run"), (http_app, "protobuf_of"),
    (http_app, "success_json"), (http_app, "_client_of"), (http_app, "_checked"), (http_app.HttpApp, "_take"),
]  # fmt: skip


def failing(original: Callable[..., Any], fault: Callable[[], BaseException]) -> Callable[..., Any]:
    """A function of the same kind, a coroutine or not, that does nothing but fail."""

    def fail(*_: Any, **__: Any) -> Any:
        raise fault()

    async def fail_later(*_: Any, **__: Any) -> Any:
        raise fault()

    return fail_later if inspect.iscoroutinefunction(original) else fail


async def retryable_over_grpc(it: Receiving) -> None:
    """Sends a request, and expects to be told to try it again."""
    error = await it.refusal(ANY, metadata=(("authorization", "Bearer token"),))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert rpc_status.from_call(error).details[0].Unpack(RetryInfo())
    assert "internal error" in error.details()


async def retryable_over_http(it: Receiving) -> None:
    """Sends a request in JSON, and expects to be told to try it again."""
    answer: httpx.Response = await it.post(b"{}", content_type=JSON, authorization="Bearer token")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "internal error" in answer.json()["message"]


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("fault", [RuntimeError, MemoryError, StopIteration])
def test_a_fault_anywhere_is_retryable(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, transport: str, fault: type[Exception]
) -> None:
    """Whichever function fails: UNAVAILABLE with RetryInfo, 503 with Retry-After, counted, and nothing stays held."""
    tokens = tmp_path / "tokens"
    tokens.write_text("token\n")
    places = BOTH + (GRPC if transport == "grpc" else HTTP)
    send = retryable_over_grpc if transport == "grpc" else retryable_over_http

    async def test() -> None:
        async with receiving(Kept(), bearer_tokens_file=str(tokens)) as it:
            for number, (owner, name) in enumerate(places, 1):
                with monkeypatch.context() as patch:
                    patch.setattr(owner, name, failing(getattr(owner, name), fault))
                    await send(it)
                assert it.requests() == {RequestResult.UNAVAILABLE: number}
                assert it.refused() == {RefusalReason.EXCEPTION: number}
            answer = await it.post(ANY, content_type=PROTOBUF, authorization="Bearer token")
            assert answer.status_code == 200

    run(test)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_sink_is_retryable(fault: type[Exception]) -> None:
    """Whatever kind of exception the sink raises: told to try again on both, and nothing stays held."""

    async def test() -> None:
        async def sink(_: Request) -> Receipt:
            await asyncio.sleep(0)
            raise fault("secret")

        async with receiving(sink) as it:
            await retryable_over_grpc(it)
            await retryable_over_http(it)
            assert it.requests() == {RequestResult.UNAVAILABLE: 2}
            assert it.telemetry.in_flight_bytes.value() == 0
            assert "secret" not in (await it.post(ANY)).text

    run(test)
