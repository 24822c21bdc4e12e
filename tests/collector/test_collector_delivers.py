"""What the real Collector does with spans and metrics under collector-config/collector.yaml."""

import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from components import ROOT, Collector, free_port, require, run_collector, wait_until
from otlp_sink import TraceSink, trace_sink

COLLECTOR = ROOT / "collector-config" / "collector.yaml"
MINIMAL = ROOT / "collector-config" / "minimal.yaml"
EXPORT_TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
EXPORT_METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
NAMED = {"ml.model.name": AnyValue(string_value="flights")}
AWKWARD_DOUBLES = (0.1, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("nan"))


def attributes(values: Mapping[str, AnyValue]) -> list[KeyValue]:
    """OTLP attributes of these names and values."""
    return [KeyValue(key=key, value=value) for key, value in values.items()]


def request(
    count: int,
    *,
    span: Mapping[str, AnyValue] | None = None,
    scope: Mapping[str, AnyValue] | None = None,
    resource: Mapping[str, AnyValue] | None = None,
    first_id: int = 1,
) -> trace_service_pb2.ExportTraceServiceRequest:
    """A request of `count` spans with ids from `first_id` on and these attributes at their three levels."""
    spans = [
        Span(
            trace_id=bytes(15) + b"\1",
            span_id=struct.pack(">Q", number),
            name="predict",
            attributes=attributes(span or {}),
        )
        for number in range(first_id, first_id + count)
    ]
    scopes = [ScopeSpans(scope=InstrumentationScope(attributes=attributes(scope or {})), spans=spans)]
    of_one = ResourceSpans(resource=Resource(attributes=attributes(resource or {})), scope_spans=scopes)
    return trace_service_pb2.ExportTraceServiceRequest(resource_spans=[of_one])


def send(collector: Collector, *requests: trace_service_pb2.ExportTraceServiceRequest) -> None:
    """Sends requests one after the other; each must succeed."""
    with grpc.insecure_channel(collector.grpc) as channel:
        export = channel.unary_unary(EXPORT_TRACES)
        for one in requests:
            answer = trace_service_pb2.ExportTraceServiceResponse.FromString(
                export(one.SerializeToString(), timeout=30)
            )
            assert answer.partial_success.rejected_spans == 0


def ids(sink: TraceSink) -> set[int]:
    """The span ids that arrived, as numbers."""
    return {struct.unpack(">Q", span.span_id)[0] for span in sink.spans()}


def test_spans_with_a_model_name_at_any_level_pass_and_others_do_not(tmp_path: Path) -> None:
    """The filter looks on span, scope and resource, and counts what it drops."""
    with (
        trace_sink(free_port()) as sink,
        run_collector(COLLECTOR, tmp_path, env={"DRIFTMETER_ENDPOINT": sink.endpoint}) as collector,
    ):
        send(
            collector,
            request(1, span=NAMED, first_id=1),
            request(1, scope=NAMED, first_id=2),
            request(1, resource=NAMED, first_id=3),
            request(5, span={"http.route": AnyValue(string_value="/predict")}, first_id=4),
            request(1, span=NAMED, first_id=9),
        )
        wait_until("the last span arrives", lambda: 9 in ids(sink))
        assert ids(sink) == {1, 2, 3, 9}
        assert collector.own_metric("otelcol_processor_filter_spans_filtered") == 5


def test_values_arrive_bit_for_bit(tmp_path: Path) -> None:
    """Doubles (NaN, negative zero and the smallest one too), large integers, flags and strings pass unchanged."""
    values = {f"ml.feature.d{i}": AnyValue(double_value=value) for i, value in enumerate(AWKWARD_DOUBLES)}
    values["ml.feature.big"] = AnyValue(int_value=2**63 - 1)
    values["ml.feature.flag"] = AnyValue(bool_value=False)
    values["ml.feature.text"] = AnyValue(string_value="Zürich")
    sent = request(1, span={**NAMED, **values})
    with (
        trace_sink(free_port()) as sink,
        run_collector(COLLECTOR, tmp_path, env={"DRIFTMETER_ENDPOINT": sink.endpoint}) as collector,
    ):
        send(collector, sent)
        wait_until("the span arrives", lambda: len(sink.spans()) > 0)
        (got,) = sink.spans()
    expected = {
        item.key: item.value.SerializeToString() for item in sent.resource_spans[0].scope_spans[0].spans[0].attributes
    }
    assert {item.key: item.value.SerializeToString() for item in got.attributes} == expected


def test_requests_over_the_usual_limit_pass(tmp_path: Path) -> None:
    """A request of 6 MiB, over gRPC's and the Collector's default of 4 MiB, is taken."""
    wide = {**NAMED, "ml.feature.text": AnyValue(string_value="x" * 6_000)}
    with (
        trace_sink(free_port()) as sink,
        run_collector(COLLECTOR, tmp_path, env={"DRIFTMETER_ENDPOINT": sink.endpoint}) as collector,
    ):
        send(collector, request(1_050, span=wide))
        wait_until("all spans arrive", lambda: len(ids(sink)) == 1_050)


def test_what_was_taken_survives_a_kill_of_the_collector_and_an_absent_receiver(tmp_path: Path) -> None:
    """Spans acknowledged while nobody listened, by a Collector killed with SIGKILL, arrive after both are back."""
    port = free_port()
    env = {"DRIFTMETER_ENDPOINT": f"127.0.0.1:{port}"}
    with run_collector(COLLECTOR, tmp_path, env=env) as collector:
        send(collector, *(request(500, resource=NAMED, first_id=1 + 500 * i) for i in range(10)))
        collector.program.process.kill()
        collector.program.process.wait()
    with trace_sink(port) as sink, run_collector(COLLECTOR, tmp_path, env=env):
        wait_until("all spans arrive", lambda: len(ids(sink)) == 5_000)


@pytest.mark.parametrize(("config", "passed"), [(COLLECTOR, 0), (MINIMAL, 40)], ids=["collector", "minimal"])
def test_ordinary_spans_are_filtered_out_or_passed_on(config: Path, passed: int, tmp_path: Path) -> None:
    """The 40 spans of telemetrygen name no model: collector.yaml drops them all, minimal.yaml forwards them all."""
    with (
        trace_sink(free_port()) as sink,
        run_collector(config, tmp_path, env={"DRIFTMETER_ENDPOINT": sink.endpoint}) as collector,
    ):
        generate = [
            "traces",
            "--otlp-insecure",
            f"--otlp-endpoint={collector.grpc}",
            "--traces=20",
            "--child-spans=1",
            "--rate=0",
        ]
        subprocess.run([require("telemetrygen"), *generate], check=True, capture_output=True, timeout=60)
        assert collector.own_metric("otelcol_receiver_accepted_spans") == 40
        send(collector, request(1, span=NAMED, first_id=7))
        wait_until("all of it arrives", lambda: len(sink.spans()) == passed + 1)


def test_metrics_are_offered_to_whoever_scrapes(tmp_path: Path) -> None:
    """An OTLP gauge comes out under the name that Prometheus' own translation gives it, with its value unchanged."""
    point = NumberDataPoint(as_double=0.1, time_unix_nano=1, attributes=attributes(NAMED))
    gauge = Metric(name="ml.feature.drift.score", gauge=Gauge(data_points=[point]))
    of_one = ResourceMetrics(resource=Resource(), scope_metrics=[ScopeMetrics(metrics=[gauge])])
    sent = metrics_service_pb2.ExportMetricsServiceRequest(resource_metrics=[of_one])
    with run_collector(COLLECTOR, tmp_path) as collector:
        with grpc.insecure_channel(collector.grpc) as channel:
            channel.unary_unary(EXPORT_METRICS)(sent.SerializeToString(), timeout=30)
        text = httpx.get(collector.prometheus_url, trust_env=False).text
    (line,) = (line for line in text.splitlines() if line.startswith("ml_feature_drift_score"))
    assert 'ml_model_name="flights"' in line
    assert float(line.rsplit(" ", 1)[1]) == 0.1
