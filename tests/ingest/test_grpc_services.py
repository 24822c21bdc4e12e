"""The standard health service and server reflection beside OTLP, as orchestrators and grpcurl use them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from driftmeter.ingest.grpc_server import SERVICES
from otlp_samples import usual_request
from receiving import Gate, Kept, receiving, run

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health_of(channel: grpc.Channel, service: str) -> int:
    """What the health service says of a service."""
    stub = health_pb2_grpc.HealthStub(channel)
    return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status)


def test_health_says_serving_for_all_and_for_each() -> None:
    """The whole server and both OTLP services are SERVING once started; others are not known."""

    async def test() -> None:
        async with receiving(Kept()) as it:
            for service in ("", *SERVICES.values()):
                assert await asyncio.to_thread(health_of, it.channel, service) == SERVING
            with pytest.raises(grpc.RpcError) as unknown:
                await asyncio.to_thread(health_of, it.channel, "opentelemetry.MetricsService")
            assert unknown.value.code() == grpc.StatusCode.NOT_FOUND

    run(test)


def test_watchers_see_that_it_stops() -> None:
    """A watcher is told NOT_SERVING when the stop begins, while a request in flight is still worked on."""

    async def test() -> None:
        gate = Gate()
        async with receiving(gate) as it:
            stub = health_pb2_grpc.HealthStub(it.channel)
            updates: Iterator[health_pb2.HealthCheckResponse] = iter(
                stub.Watch(health_pb2.HealthCheckRequest(service=""), timeout=30)
            )
            assert (await asyncio.to_thread(next, updates)).status == SERVING
            request = asyncio.create_task(it.export(usual_request(2)))
            await it.holds_something()
            stopping = asyncio.create_task(it.receiver.stop(20))
            assert (await asyncio.to_thread(next, updates)).status == NOT_SERVING
            gate.open()
            await request
            # The watch ends with the grace time at the latest; the watcher may also go by itself.
            updates.cancel()  # type: ignore[attr-defined]
            await stopping

    run(test)


def test_health_needs_no_token(tmp_path: Path) -> None:
    """Probes of orchestrators cannot show one."""
    tokens = tmp_path / "tokens"
    tokens.write_text("token\n")

    async def test() -> None:
        async with receiving(Kept(), bearer_tokens_file=str(tokens)) as it:
            assert await asyncio.to_thread(health_of, it.channel, "") == SERVING

    run(test)


def test_reflection_describes_the_services() -> None:
    """A tool without the .proto files can list the services and find the types of their methods."""

    def look(channel: grpc.Channel) -> None:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {
            *SERVICES.values(),
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        file = database.FindFileContainingSymbol(next(iter(SERVICES.values())))
        assert file.service[0].method[0].input_type.endswith("ExportTraceServiceRequest")

    async def test() -> None:
        async with receiving(Kept()) as it:
            await asyncio.to_thread(look, it.channel)

    run(test)
