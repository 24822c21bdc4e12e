"""Windows by event time depend on what was sent, not on how it came."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftmeter.model.request import Request
from restarting import Name, Restarting
from traffic import BASELINES, CONFIG, Sent, requests_of
from watched_pipeline import SECOND_NS, START_NS

BY_TIME: dict[str, Any] = {**CONFIG, "window": {**CONFIG["window"], "lengths": ["1m", "5m"]}}
SHAPES = st.sampled_from(["row", "text", "rows", "record", "nameless", "wrong", "missing"])
AGES_MAX_SECONDS = 20 * 60
"""As late as rows may come."""

SPANS = st.lists(
    st.tuples(st.sampled_from(["prices", "delays"]), SHAPES, st.integers(0, AGES_MAX_SECONDS)), min_size=1, max_size=80
)


@st.composite
def deliveries(draw: st.DrawFn, spans: list[Sent]) -> list[list[Request]]:
    """The spans in any order, some of them twice and more, in requests and groups of any size."""
    again = draw(st.lists(st.integers(0, len(spans) - 1), max_size=40))
    order = draw(st.permutations([*range(len(spans)), *again]))
    groups: list[list[Request]] = []
    at = 0
    while at < len(order):
        requests: list[Request] = []
        for _ in range(draw(st.integers(1, 4))):
            size = draw(st.integers(1, 40))
            requests += requests_of([spans[place] for place in order[at : at + size]])
            at += size
        groups.append(requests)
    return groups


def windows_of(groups: list[list[Request]], ticks: list[bool], directory: Path | None) -> tuple[dict[Name, bytes], int]:
    """Counts of all windows in the end, and how many spans they hold."""
    with Restarting(BY_TIME, BASELINES, directory) as it:
        for number, group in enumerate(groups):
            it.take(*group)
            if ticks[number % len(ticks)]:
                it.tick(revise=True)
        it.assert_ledger_holds()
        assert it.rows("late") == 0
        return it.close_all_windows(), it.rows("counted")


@pytest.mark.parametrize("on_disk", [False, True])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), drawn=SPANS, ticks=st.lists(st.booleans(), min_size=1, max_size=5))
def test_order_duplicates_and_batches_change_no_window(
    tmp_path: Path,
    on_disk: bool,  # noqa: FBT001
    data: st.DataObject,
    drawn: list[tuple[str, str, int]],
    ticks: list[bool],
) -> None:
    """Any shuffle, duplication and re-batching of the same spans within the lateness: the same windows, bit for bit."""
    spans = [Sent(number, model, shape, START_NS - age * SECOND_NS) for number, (model, shape, age) in enumerate(drawn)]
    plain, counted = windows_of([requests_of(spans)], [False], None)
    shuffled = windows_of(data.draw(deliveries(spans)), ticks, tmp_path if on_disk else None)
    assert (plain, counted) == shuffled
