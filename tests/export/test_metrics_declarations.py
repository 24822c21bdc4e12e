"""The declarations of the result metrics, and what Prometheus itself makes of them."""

import re
from pathlib import Path

import httpx
import polars as pl
import pytest

from components import require, run_prometheus
from driftmeter.export.document import document
from driftmeter.export.metrics import FAMILIES, IDENTITY_LABELS, RESULT_METRICS, MetricKind, MetricSpec
from driftmeter.export.otlp.encode import OtlpSource, encode_metrics_request
from driftmeter.export.points import LABELS, as_stale
from export_samples import points, prometheus_name

ROOT = Path(__file__).resolve().parent.parent.parent


def test_names_are_unique() -> None:
    """No two metrics share a name, in either world."""
    assert len({spec.otlp_name for spec in RESULT_METRICS}) == len(RESULT_METRICS)
    assert FAMILIES.get_column("metric").is_unique().all()


@pytest.mark.parametrize("spec", RESULT_METRICS, ids=lambda spec: spec.otlp_name)
def test_translation_gives_the_declared_name(spec: MetricSpec) -> None:
    """Prometheus' rules applied to name, unit and kind give the Prometheus name; gauges never have the unit 1."""
    assert spec.unit != "1"
    assert re.fullmatch(r"ml(\.[a-z][a-z_]*)+", spec.otlp_name)
    counter = spec.kind is MetricKind.COUNTER
    assert prometheus_name(spec.otlp_name, spec.unit, counter=counter) == spec.prometheus_name
    assert set(spec.labels) <= set(LABELS) - set(IDENTITY_LABELS)
    assert spec.description.endswith(".")


def _point_of_each() -> pl.DataFrame:
    now = {"model": "m", "version": "1", "timestamp_ms": 1_700_000_000_000}
    rows = []
    for index, spec in enumerate(RESULT_METRICS):
        labels = {label: f"a {label}" for label in spec.labels}
        if spec.kind is MetricKind.HISTOGRAM:
            buckets = (("0.5", 1.0), ("1", 2.0), ("2.5", 2.0), ("+Inf", 4.0))
            rows += [{"metric": f"{spec.prometheus_name}_bucket", "le": le, "value": v, **now} for le, v in buckets]
            rows.append({"metric": f"{spec.prometheus_name}_count", "value": 4.0, **now})
            rows.append({"metric": f"{spec.prometheus_name}_sum", "value": 17.5, **now})
        else:
            rows.append({"metric": spec.prometheus_name, "value": index + 0.5, **now, **labels})
    return points(rows)


def test_a_real_prometheus_gives_the_declared_names(tmp_path: Path) -> None:
    """One point of every metric, sent as OTLP to a real Prometheus, comes back under the declared names and labels."""
    require("prometheus")
    table = _point_of_each()
    body = encode_metrics_request(table, OtlpSource("driftmeter", "here", "1", 1_600_000_000_000_000_000))
    with run_prometheus(tmp_path) as prometheus:
        headers = {"Content-Type": "application/x-protobuf"}
        answer = httpx.post(prometheus.otlp_url, content=body, headers=headers, trust_env=False)
        assert answer.status_code == httpx.codes.OK, answer.text
        found = prometheus.query('{__name__!=""}', time=1_700_000_001)
    expected = {
        frozenset(
            {
                "__name__": row["metric"],
                "job": "driftmeter",
                "instance": "here",
                **{label: row[label] for label in LABELS if row[label]},
            }.items()
        ): row["value"]
        for row in table.iter_rows(named=True)
    }
    assert {frozenset(series.labels.items()): series.value for series in found} == expected


def test_stale_markers_end_every_series_in_a_real_prometheus(tmp_path: Path) -> None:
    """Gauges, counters and all parts of histograms that end as OTLP are gone for a plain query at once."""
    require("prometheus")
    table, source = _point_of_each(), OtlpSource("driftmeter", "here", "1", 1_600_000_000_000_000_000)
    ended = as_stale(table).with_columns(pl.col("timestamp_ms") + 1_000)
    with run_prometheus(tmp_path) as prometheus:
        for part in (table, ended):
            headers = {"Content-Type": "application/x-protobuf"}
            body = encode_metrics_request(part, source)
            answer = httpx.post(prometheus.otlp_url, content=body, headers=headers, trust_env=False)
            assert answer.status_code == httpx.codes.OK, answer.text
        assert len(prometheus.query('{__name__!=""}', time=1_700_000_000)) == table.height
        assert prometheus.query('{__name__!=""}', time=1_700_000_001) == []


def test_the_page_is_current() -> None:
    """docs/metrics.md is what the declarations say; `python -m driftmeter.export.document` writes it."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == document()
