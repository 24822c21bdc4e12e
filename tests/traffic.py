"""Traffic of every kind, and what can come in between, to be drawn by Hypothesis and sent as often as wanted."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from hypothesis import strategies as st

from driftmeter.model.request import Request, Signal
from otlp_samples import array, make_logs, make_record, make_request, make_span
from restarting import Restarting
from watched_pipeline import SECOND_NS, baseline_of

ROWS = pl.DataFrame(
    {
        "size": np.random.default_rng(0).normal(size=300),
        "kind": np.random.default_rng(1).choice(["a", "b", "c"], size=300).tolist(),
    }
)
BASELINE = baseline_of(ROWS, "prices")
OTHER_BASELINE = baseline_of(ROWS.select("size"), "delays")

MODELS = ("prices", "delays", "new")
"""The first two have a baseline, the last one learns its own."""

CONFIG: dict[str, Any] = {
    "window": {"lengths": ["1m", "5m", "40rows"], "out_of_orderness": "10s", "allowed_lateness": "20m"},
    "baseline": {"learn_rows": 100},
    "journal": {"min_free_bytes": 0, "segment_bytes": 4096, "segment_age": "1s"},
}
BASELINES = (BASELINE, OTHER_BASELINE)

SHAPES = ("row", "row", "row", "text", "rows", "record", "nameless", "wrong", "missing", "future", "timeless", "bare")
"""What a span is like; see `span_of`."""


class Sent(NamedTuple):
    """A span that was sent, and can be sent again."""

    number: int
    model: str
    shape: str
    end_ns: int


class Send(NamedTuple):
    """Requests that come together, each with new spans (model, shape, age in seconds) and some that came before."""

    requests: tuple[tuple[tuple[tuple[str, str, int], ...], tuple[int, ...]], ...]


class Tick(NamedTuple):
    """Time passes."""

    seconds: int
    revise: bool


class Snapshot(NamedTuple):
    """State is written to disk."""


class Stop(NamedTuple):
    """The process is killed, or the machine stops, and starts again."""

    power_failure: int | None


Step = Send | Tick | Snapshot | Stop

AGES = st.one_of(st.integers(0, 90), st.integers(0, 90), st.sampled_from([300, 1_000, 2_000, 5_000]))
SPANS = st.tuples(st.sampled_from(MODELS), st.sampled_from(SHAPES), AGES)
REQUESTS = st.tuples(st.lists(SPANS, max_size=25).map(tuple), st.lists(st.integers(0, 10_000), max_size=6).map(tuple))
SENDS = st.builds(Send, st.lists(REQUESTS, min_size=1, max_size=3).map(tuple))
TICKS = st.builds(Tick, st.sampled_from([0, 1, 20, 90, 400]), st.booleans())
STOPS = st.builds(Stop, st.one_of(st.none(), st.integers(0, 2**20)))
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(SENDS, SENDS, SENDS, TICKS, TICKS, st.just(Snapshot()), STOPS), max_size=14
)


def span_of(sent: Sent) -> Any:
    """The span, or the log record; the same for the same arguments."""
    number, _, shape, end_ns = sent
    value = (number * 7919 % 1_000) / 250 - 2
    attributes: dict[str, Any] = {"ml.model.name": sent.model, "ml.feature.size": value}
    fields: dict[str, Any] = {"start_time_unix_nano": 0, "end_time_unix_nano": end_ns}
    match shape:
        case "text":
            attributes["ml.feature.kind"] = "abcd"[number % 4]
        case "rows":
            attributes["ml.feature.size"] = array(*(value + element for element in range(number % 40)))
        case "nameless":
            fields |= {"trace_id": b"", "span_id": b"", "start_time_unix_nano": end_ns - number}
            attributes["ml.feature.number"] = float(number)
        case "wrong":
            attributes["ml.feature.size"] = "large"
        case "missing":
            attributes = {"ml.model.name": sent.model, "ml.feature.kind": "a"}
        case "bare":
            attributes = {"http.route": "/"}
        case "record":
            return make_record(attributes, number, time_unix_nano=end_ns)
    return make_span(attributes, number, **fields)


def requests_of(spans: Sequence[Sent]) -> list[Request]:
    """A request of traces, and one of logs when there are records among them."""
    traces = [span_of(each) for each in spans if each.shape != "record"]
    records = [span_of(each) for each in spans if each.shape == "record"]
    requests = [Request(Signal.TRACES, make_request(traces).SerializeToString())] if traces else []
    return requests + ([Request(Signal.LOGS, make_logs(records).SerializeToString())] if records else [])


class Sender:
    """Sends what steps say; two of them that do the same steps send the same."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def group(self, step: Send, now_ns: int) -> list[Request]:
        """Requests of one step."""
        requests: list[Request] = []
        for new, again in step.requests:
            spans = []
            for model, shape, age in new:
                end_ns = now_ns - age * SECOND_NS
                end_ns = {"future": now_ns + 3_600 * SECOND_NS, "timeless": 0}.get(shape, end_ns)
                spans.append(Sent(len(self.sent), model, shape, end_ns))
                self.sent.append(spans[-1])
            spans += [self.sent[place % len(self.sent)] for place in again if self.sent]
            requests += requests_of(spans)
        return requests


def do(step: Step, it: Restarting, sender: Sender) -> None:
    """One step, on a pipeline that restarts, or on one that never does."""
    match step:
        case Send():
            it.take(*sender.group(step, it.clock.now_ns()))
        case Tick():
            it.tick(step.seconds, revise=step.revise)
        case Snapshot() if it.directory is not None:
            it.snapshot()
        case Stop() if it.directory is not None:
            it.restart(step.power_failure)
    it.assert_ledger_holds()
