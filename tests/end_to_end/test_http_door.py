"""The whole service behind real senders: the SDK over HTTP, and a real Collector over HTTP and over gRPC with TLS."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from certificates import Authority, put
from components import Collector, run_collector
from driftmeter.clock import SystemClock
from otlp_samples import attribute
from programs import LOOPBACK, wait_until
from service_process import ServiceProcess, assert_ledger_holds, run_service
from spans import channel_to, identity, request_of, send

EXPORT_LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


def rows_now(count: int, first_number: int = 0) -> bytes:
    """A request of predictions that end now."""
    rows = [{"ml.feature.size": float(number)} for number in range(count)]
    return request_of(rows, [SystemClock().now_ns()] * count, identity("prices"), first_number)


def records_now(count: int) -> bytes:
    """A request of log records that hold predictions."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for number in range(count):
        record = scope.log_records.add(time_unix_nano=SystemClock().now_ns())
        record.attributes.extend([attribute("ml.model.name", "prices"), attribute("ml.feature.size", float(number))])
    return request.SerializeToString()


def accepted(service: ServiceProcess) -> int:
    """Spans and records that the service has accepted."""
    return int(service.metrics().total("driftmeter_spans_total", outcome="accepted"))


def collector_config(exporter: str, settings: dict[str, Any]) -> str:
    """A Collector that passes traces and logs on with one exporter, at once and for as long as it takes."""
    retry = {"initial_interval": "200ms", "max_interval": "1s", "max_elapsed_time": "0s"}
    queue = {"sizer": "items", "queue_size": 100_000, "block_on_overflow": True}
    pipeline = {"receivers": ["otlp"], "exporters": [exporter]}
    return yaml.safe_dump({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:4317"}}}},
        "exporters": {exporter: {"retry_on_failure": retry, "sending_queue": queue, **settings}},
        "service": {"pipelines": {"traces": pipeline, "logs": pipeline}},
    })  # fmt: skip


def lost_by(collector: Collector) -> float:
    """Spans and records that the Collector gave up."""
    return sum(
        collector.own_metric(f"otelcol_exporter_{kind}_failed_{what}")
        for kind in ("send", "enqueue")
        for what in ("spans", "log_records")
    )


@pytest.mark.parametrize("compression", list(Compression))
def test_the_sdk_sends_over_http(tmp_path: Path, compression: Compression) -> None:
    """The SDK's own OTLP/HTTP exporter needs the address and nothing else."""
    with run_service({}, tmp_path) as service:
        provider = TracerProvider(resource=Resource({"service.name": "model-server"}))
        exporter = OTLPSpanExporter(f"http://{service.otlp_http}/v1/traces", compression=compression)
        provider.add_span_processor(BatchSpanProcessor(exporter))
        tracer = provider.get_tracer("model")
        for number in range(1_000):
            with tracer.start_as_current_span("predict") as span:
                span.set_attributes({"ml.model.name": "prices", "ml.feature.size": float(number)})
        provider.shutdown()
        assert accepted(service) == 1_000
        assert_ledger_holds(service.metrics())
        service.stop()


@pytest.mark.parametrize("encoding", ["proto", "json"])
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_a_collector_sends_over_http(tmp_path: Path, encoding: str, compression: str) -> None:
    """The Collector's otlp_http exporter: protobuf and JSON, with gzip and without, traces and logs; all arrive."""
    with run_service({}, tmp_path) as service:
        url = f"http://{service.otlp_http}"
        settings = {"endpoint": url, "encoding": encoding, "compression": compression}
        with run_collector(collector_config("otlp_http", settings), tmp_path) as collector:
            send(collector.grpc, *(rows_now(500, 500 * number) for number in range(4)))
            with channel_to(collector.grpc) as channel:
                channel.unary_unary(EXPORT_LOGS)(records_now(300), timeout=30)
            wait_until("all have arrived", lambda: accepted(service) == 2_300)
            assert lost_by(collector) == 0
        metrics = service.metrics()
        assert metrics.total("driftmeter_requests_total", result="ok") == metrics.total("driftmeter_requests_total") > 0
        assert_ledger_holds(metrics)
        assert httpx.get(f"{url}/readyz", trust_env=False).text == "ready\n"
        service.stop()


@contextmanager
def in_background(work: threading.Thread, stop: threading.Event) -> Iterator[None]:
    """Runs a thread until the block ends."""
    work.start()
    try:
        yield
    finally:
        stop.set()
        work.join()


def test_rotating_certificates_and_tokens_loses_no_span(tmp_path: Path) -> None:
    """A Collector that sends all the time over TLS with a token, while both are replaced: every span arrives once."""
    authority = Authority.create(tmp_path, "authority")
    served, renewed = authority.sign(tmp_path, "server"), authority.sign(tmp_path, "renewed")
    accepted_tokens, shown_token = tmp_path / "tokens", tmp_path / "token"
    accepted_tokens.write_text("first\n")
    shown_token.write_text("first")
    tls = {"cert_file": str(served.cert), "key_file": str(served.key)}
    config = {"ingest": {"tls": tls, "bearer_tokens_file": str(accepted_tokens)}}
    with run_service(config, tmp_path) as service:
        whole = yaml.safe_load(collector_config("otlp_grpc", {
            "endpoint": service.otlp,
            "tls": {"ca_file": str(authority.root.cert)},
            "auth": {"authenticator": "bearertokenauth"},
        }))  # fmt: skip
        whole["extensions"] = {"bearertokenauth": {"filename": str(shown_token)}}
        whole["service"]["extensions"] = ["bearertokenauth"]
        with run_collector(yaml.safe_dump(whole), tmp_path) as collector:
            sent, stop = [0], threading.Event()

            def keep_sending() -> None:
                while not stop.wait(0.02):
                    send(collector.grpc, rows_now(10, sent[0]))
                    sent[0] += 10

            with in_background(threading.Thread(target=keep_sending), stop):
                wait_until("spans arrive", lambda: accepted(service) > 100)
                put(renewed.key, served.key)
                put(renewed.cert, served.cert)
                accepted_tokens.write_text("first\nsecond\n")  # Both are valid while the senders change.
                wait_until("the service knows both", lambda: reloads(service, "bearer_tokens") == 1)
                shown_token.write_text("second")
                before = accepted(service)
                wait_until("the sender has changed", lambda: "second" in shown(collector, shown_token))
                accepted_tokens.write_text("second\n")
                wait_until("the service knows only the second", lambda: reloads(service, "bearer_tokens") == 2)
                wait_until("spans arrive still", lambda: accepted(service) > before + 300)
            wait_until("all have arrived", lambda: accepted(service) == sent[0])
            assert lost_by(collector) == 0
        metrics = service.metrics()
        assert metrics.total("driftmeter_requests_total", result="unauthenticated") == 0
        assert metrics.total("driftmeter_requests_total") == metrics.total("driftmeter_requests_total", result="ok")
        stranger = grpc.ssl_channel_credentials(authority.root.cert.read_bytes())
        with grpc.secure_channel(service.otlp, stranger) as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(EXPORT_LOGS)(b"", metadata=(("authorization", "Bearer first"),), timeout=30)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        wait_until("the new certificate is known", lambda: reloads(service, "tls") == 1)
        assert_ledger_holds(service.metrics())
        service.stop()


def reloads(service: ServiceProcess, credentials: str) -> float:
    """How often files were read again."""
    return service.metrics().total("driftmeter_credentials_reloads_total", credentials=credentials, result="ok")


def shown(collector: Collector, token: Path) -> str:
    """The token that the Collector shows from now on, as its log tells of reading it again."""
    said = collector.program.log_text().count("refresh token")
    return token.read_text() if said > 1 else ""


def test_a_listener_for_other_machines_serves_with_tls(tmp_path: Path) -> None:
    """With certificates the service may listen on every address; without them it must be told that it may."""
    authority = Authority.create(tmp_path, "authority")
    served = authority.sign(tmp_path, "server")
    config = {
        "ingest": {
            "http": {"listen": "0.0.0.0:0"},  # Every address of this machine is the point of this test.
            "tls": {"cert_file": str(served.cert), "key_file": str(served.key)},
        }
    }
    with run_service(config, tmp_path) as service:
        channel = grpc.secure_channel(service.otlp, grpc.ssl_channel_credentials(authority.root.cert.read_bytes()))
        with channel:
            grpc.channel_ready_future(channel).result(timeout=30)
        assert LOOPBACK in service.otlp
        service.stop()
