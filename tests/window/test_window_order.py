"""The order and the batching of rows make no difference to what is counted in the end."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.model.blobs import MemoryBlobs
from driftmeter.model.counts import Counts
from driftmeter.model.predictions import Predictions
from driftmeter.summary.fold import fold
from driftmeter.window import by_time
from driftmeter.window.config import WindowConfig
from driftmeter.window.seen import SeenSpans
from driftmeter.window.windows import ModelWindows
from rows import ONE_COLUMN, SECOND_NS, assert_same_counts, predictions

Row = tuple[int, float]
"""Time in seconds and value."""

LATENESS_SECONDS = 600


def final_counts(
    batches: Sequence[Sequence[Row]], lengths: tuple[str, ...]
) -> tuple[dict[tuple[str, int], Counts], int]:
    """Counts at each window's last revision, by name and start, and the rows called late."""
    config = WindowConfig(
        lengths=lengths, clock="data", out_of_orderness="10s", allowed_lateness=f"{LATENESS_SECONDS}s"
    )
    windows = ModelWindows(ONE_COLUMN, config)
    final: dict[tuple[str, int], Counts] = {}
    revisions: dict[tuple[str, int], int] = {}
    late = 0
    for number, batch in enumerate([*batches, None]):
        if batch is None:
            due = windows.drain(everything=True)
        else:
            rows = predictions([t * SECOND_NS for t, _ in batch], {"x": [float(x) for _, x in batch]})
            more, due = windows.add(rows, 0)
            late += more
            due += windows.tick(0, revise=number % 3 == 2)
        for each in due:
            assert each.start_ns is not None
            key = each.window.name, each.start_ns // SECOND_NS
            assert each.revision == revisions.get(key, -1) + 1
            revisions[key] = each.revision
            final[key] = each.counts.dense(ONE_COLUMN)
    return final, late


def by_hand(rows: Sequence[Row], lengths: dict[str, tuple[int, int]]) -> dict[tuple[str, int], Counts]:
    """The same by sorting rows into windows one by one, but for those that would end after a step with the newest."""
    newest = max(time for time, _ in rows)
    members: dict[tuple[str, int], list[Row]] = {}
    for time, value in rows:
        for name, (seconds, hop) in lengths.items():
            for start in range(-seconds, newest + 1, hop):
                if start <= time < start + seconds <= newest // hop * hop + hop:
                    members.setdefault((name, start), []).append((time, float(value)))
    counts = {}
    for key, part in members.items():
        counts[key] = Counts.zeros(ONE_COLUMN)
        batch = predictions([time * SECOND_NS for time, _ in part], {"x": [value for _, value in part]})
        fold(ONE_COLUMN, batch.rows, np.zeros(len(part), np.int32), counts[key])
    return counts


LENGTHS = {
    "apart": {"1m": (60, 60), "3m": (180, 180), "6m": (360, 360)},
    "overlapping": {"1m": (60, 60), "3m every 1m": (180, 60), "6m": (360, 360), "4m every 40s": (240, 40)},
}
"""Length and step in seconds, by name."""


@pytest.mark.parametrize("at_a_time", [16_000_000, 1])
@pytest.mark.parametrize("kind", LENGTHS)
@settings(max_examples=75, deadline=None)
@given(st.lists(st.tuples(st.integers(0, LATENESS_SECONDS), st.integers(-1, 4)), min_size=1, max_size=60), st.data())
def test_any_order_and_batching_within_lateness_counts_the_same(
    kind: str, at_a_time: int, rows: list[Row], data: st.DataObject
) -> None:
    """Shuffled and cut into batches anywhere, rows within the lateness give exactly their windows."""
    shuffled = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(rows)), max_size=8)))
    batches = [shuffled[first:last] for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True) if first < last]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_time, "_CELLS_AT_A_TIME", at_a_time)
        final, late = final_counts(batches, tuple(LENGTHS[kind]))
    expected = by_hand(rows, LENGTHS[kind])
    assert late == 0
    assert final.keys() == expected.keys()
    for key, counts in expected.items():
        assert_same_counts(final[key], counts)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 20_000), st.just(1)), min_size=1, max_size=8), min_size=1, max_size=12)
)
def test_every_row_is_in_its_longest_window_or_late(batches: list[list[Row]]) -> None:
    """With any disorder, rows in the longest windows and late ones are all rows: none lost, none twice."""
    final, late = final_counts(batches, ("1m", "60m"))
    counted = sum(int(counts.rows[0]) for (name, _), counts in final.items() if name == "60m")
    assert counted + late == sum(map(len, batches))
    in_minutes = sum(int(counts.rows[0]) for (name, _), counts in final.items() if name == "1m")
    assert in_minutes <= counted


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, LATENESS_SECONDS), st.floats(-1e9, 1e9)), min_size=1, max_size=40), st.data())
def test_spans_sent_again_in_any_order_and_batching_count_once(rows: list[Row], data: st.DataObject) -> None:
    """Shuffled, repeated and cut anywhere, spans within the lateness give exactly their windows, bit for bit."""
    numbers = data.draw(st.permutations(range(len(rows))))
    again = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=40))
    sent = [*numbers]
    for number in again:
        sent.insert(data.draw(st.integers(0, len(sent))), number)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(sent)), max_size=8)))
    parts = [sent[first:last] for first, last in zip([0, *cuts], [*cuts, len(sent)], strict=True) if first < last]
    config = WindowConfig(
        lengths=("1m", "3m", "6m"), clock="data", out_of_orderness="10s", allowed_lateness=f"{LATENESS_SECONDS}s"
    )
    windows = ModelWindows(ONE_COLUMN, config)
    seen = SeenSpans(MemoryBlobs(), windows.horizon)
    final, duplicates = dict[tuple[str, int], Counts](), 0
    for part in [*parts, None]:
        if part is None:
            due = windows.drain(everything=True)
        else:
            batch = spans([rows[number] for number in part], part)
            admitted = seen.admit(batch)
            duplicates += admitted.duplicates
            fresh = batch if admitted.fresh is None else batch.keep(admitted.fresh)
            late, due = windows.add(fresh, 0)
            assert late == 0
            if data.draw(st.booleans()):
                seen.retire(windows.watermark.value_ns)
                seen.forget(windows.watermark.value_ns)
                due += windows.tick(0, revise=True)
        final |= {(each.window.name, (each.start_ns or 0) // SECOND_NS): each.counts.dense(ONE_COLUMN) for each in due}
    expected = by_hand(rows, LENGTHS["apart"])
    assert duplicates == len(again)
    assert final.keys() == expected.keys()
    for key, counts in expected.items():
        assert_same_counts(final[key], counts)


def spans(rows: Sequence[Row], keys: Sequence[int]) -> Predictions:
    """A batch of spans with these keys."""
    plain = predictions([t * SECOND_NS for t, _ in rows], {"x": [float(x) for _, x in rows]})
    return Predictions(plain.key, plain.rows.set_column(1, plain.rows.schema.field(1), pa.array(keys, pa.uint64())))
