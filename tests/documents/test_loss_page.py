"""The page on what can be lost names tests and metrics that there are, and leaves out no reason."""

import re
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest

from driftmeter.telemetry.declared import SELF_METRICS
from driftmeter.telemetry.outcomes import (
    DropReason,
    QuarantineDropReason,
    RefusalReason,
    RemovalReason,
    RowOutcome,
    SpanReason,
    ValueReason,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "loss.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE)
TESTS = [text for text in CODE if text.startswith("tests/")]
QUERIES = [
    text for text in CODE if re.search(r"(driftmeter|otelcol|ml)_\w+|^up == 0", text) and " journal " not in text
]
METRICS = {metric.name: metric for metric in SELF_METRICS}


@pytest.mark.parametrize("name", sorted(set(TESTS)))
def test_named_tests_are_there(name: str) -> None:
    """Each test that is said to prove something exists."""
    path, _, function = name.partition("::")
    text = (ROOT / path).read_text(encoding="utf-8")
    assert not function or re.search(rf"^(async )?def {function}\(", text, re.MULTILINE)


@pytest.mark.parametrize("query", sorted(set(QUERIES)))
def test_queries_are_promql_over_metrics_that_are_there(query: str) -> None:
    """Each query parses; metrics of the service in it are declared, with the labels and values that it names."""
    promql_parser.parse(query)
    for name, matchers in re.findall(r"(driftmeter_\w+)(?:\{([^}]*)\})?", query):
        assert name in METRICS, name
        for label, value in re.findall(r'(\w+)="([^"]*)"', matchers):
            assert value in (METRICS[name].labels[label] or {value}), f"{name}: {label}={value}"


def reasons() -> Iterator[tuple[str, str]]:
    """Every reason for which something is not counted or sent, and the metric that counts it."""
    for kind, name in (
        (SpanReason, "driftmeter_spans_total"),
        (RefusalReason, "driftmeter_requests_refused_total"),
        (ValueReason, "driftmeter_values_dropped_total"),
        (DropReason, "driftmeter_samples_dropped_total"),
        (QuarantineDropReason, "driftmeter_quarantine_dropped_total"),
        (RemovalReason, "driftmeter_archive_removed_bytes_total"),
    ):
        yield from ((name, reason) for reason in kind)


@pytest.mark.parametrize(("name", "reason"), list(reasons()))
def test_every_reason_is_on_the_page(name: str, reason: str) -> None:
    """Whatever can be counted as lost or refused has its line."""
    assert re.search(rf'{name}\{{[^}}]*reason="{reason}"', PAGE)


@pytest.mark.parametrize("outcome", sorted(set(RowOutcome) - {RowOutcome.COUNTED}))
def test_every_outcome_of_rows_is_on_the_page(outcome: str) -> None:
    """Whatever an accepted span can be but counted has its line."""
    assert f'driftmeter_rows_total{{outcome="{outcome}"}}' in PAGE
