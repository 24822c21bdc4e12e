"""The sample of a window: the rows with the smallest hashes, however the rows came."""

import numpy as np
import pyarrow as pa
import pytest

from driftmeter.errors import DamagedError
from driftmeter.model.bins import CategoryBins
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.predictions import Predictions
from driftmeter.model.sample import CELLS_MAX, WINDOW_ROWS_MAX, rows_max
from driftmeter.summary.fold import fold
from rows import assert_same_samples, layout_of, predictions

LAYOUT = layout_of({"x": [0.0, 1.0], "c": CategoryBins(("a", "b")), "absent": [0.0, 1.0]})
ROWS = 3_000
WORD = 2**64


def splitmix(state: int) -> int:
    """The hash in plain integers, as published: the state is moved on by one step before it is mixed."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % WORD
    return state ^ (state >> 31)


def many_rows(rows: int = ROWS) -> Predictions:
    """Rows with traces, of spans of two rows each."""
    random = np.random.default_rng(5)
    names = np.array(["a", "b", "new", None], object)
    batch = predictions(
        np.arange(rows) * 10**9,
        {
            "x": np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows)),
            "c": pa.array(names[random.integers(0, 4, rows)].tolist(), pa.string()).dictionary_encode(),
        },
    )
    changed = {
        "span_key": pa.array(random.integers(0, WORD, rows // 2, np.uint64).repeat(2)),
        "row_index": pa.array(np.arange(rows) % 2, pa.uint16()),
        "trace_id": pa.array([int(row).to_bytes(16, "big") if row % 7 else b"" for row in range(rows)], pa.binary()),
    }
    columns = [changed.get(name, batch.rows.column(name)) for name in batch.rows.schema.names]
    return Predictions(batch.key, pa.RecordBatch.from_arrays(columns, schema=batch.rows.schema))


def counted(batch: Predictions) -> Counts:
    """All rows at once."""
    counts = Counts.zeros(LAYOUT)
    fold(LAYOUT, batch.rows, np.zeros(batch.rows.num_rows, np.int32), counts)
    return counts


def test_sample_is_the_rows_with_the_smallest_hashes() -> None:
    """Hashes, times, traces and values are those of the rows that plain integers and a plain sort choose."""
    rows = many_rows().rows
    sample = counted(many_rows()).samples[0]
    hashed = sorted(
        (splitmix((key + (index + 1) * 0x9E3779B97F4A7C15) % WORD), row)
        for row, (key, index) in enumerate(
            zip(rows.column("span_key").to_pylist(), rows.column("row_index").to_pylist(), strict=True)
        )
    )[:WINDOW_ROWS_MAX]
    chosen = [row for _, row in hashed]
    assert sample.keys.tolist() == [key for key, _ in hashed]
    assert sample.times_ns.tolist() == [row * 10**9 for row in chosen]
    assert [bytes(trace) for trace in sample.traces] == [
        row.to_bytes(16, "big") if row % 7 else bytes(16) for row in chosen
    ]
    x = rows.column("feature.x").to_numpy(zero_copy_only=False)[chosen]
    bins = {"a": 0.0, "b": 1.0, "new": 3.0, None: np.nan}
    c = [bins[name] for name in np.array(rows.column("feature.c").to_pylist(), object)[chosen]]
    np.testing.assert_array_equal(sample.values, np.column_stack([x, c, np.full(len(chosen), np.nan)]))


@pytest.mark.parametrize("seed", range(5))
def test_order_and_cuts_do_not_matter(seed: int) -> None:
    """Rows shuffled, cut into batches, spread over windows that are then added give the same sample, bit for bit."""
    random = np.random.default_rng(seed)
    batch = many_rows()
    shuffled = batch.rows.take(random.permutation(ROWS))
    panes = Counts.zeros(LAYOUT, 3)
    cuts = np.sort(random.integers(0, ROWS, 6)).tolist()
    for first, last in zip([0, *cuts], [*cuts, ROWS], strict=True):
        part = shuffled.slice(first, last - first)
        fold(LAYOUT, part, random.integers(0, 3, last - first).astype(np.int32), panes)
    total = Counts.zeros(LAYOUT)
    for number in random.permutation(3).tolist():
        pane = panes.window(number)
        total.add(pane.packed() if number else pane)
    assert_same_samples(total, counted(batch))


def test_equal_hashes_are_told_apart_by_what_rows_have() -> None:
    """Rows with one key at the end of a full sample: which of them are in it does not depend on their order."""
    batch = many_rows()
    same = batch.rows.set_column(1, batch.rows.schema.field(1), pa.array(np.full(ROWS, 7, np.uint64)))
    one = counted(Predictions(batch.key, same))
    other = counted(Predictions(batch.key, same.take(np.arange(ROWS)[::-1])))
    assert one.samples[0].size == WINDOW_ROWS_MAX
    assert_same_samples(one, other)


def test_rows_without_keys_are_counted_and_not_sampled() -> None:
    """Rows of a file have no span: they are counted alone."""
    batch = many_rows(100)
    counts = Counts.zeros(LAYOUT)
    fold(LAYOUT, batch.rows.select(["feature.x", "feature.c"]), np.zeros(100, np.int32), counts)
    assert counts.rows[0] == 100
    assert counts.samples[0].size == 0


def test_the_size_of_a_sample_is_bounded() -> None:
    """Of models with many columns fewer rows are sampled: values are at most so many."""
    assert rows_max(20) == WINDOW_ROWS_MAX
    assert rows_max(0) == WINDOW_ROWS_MAX
    assert all(rows_max(columns) * columns <= CELLS_MAX for columns in (1, 256, 257, 1_000, 10_000))
    assert rows_max(10**9) == 1


@pytest.mark.parametrize("kind", [Counts, PackedCounts])
def test_samples_come_back_from_state(kind: type[Counts] | type[PackedCounts]) -> None:
    """State has the sample bit for bit, in arrays that are not those of the state."""
    counts = counted(many_rows())
    tree = (counts if kind is Counts else counts.packed()).state()
    restored = kind.from_state(tree, LAYOUT).dense(LAYOUT)
    assert_same_samples(restored, counts)
    assert not np.shares_memory(restored.samples[0].values, tree["sample_values"])


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("sampled", np.array([-1], np.int64)),
        ("sampled", np.array([WINDOW_ROWS_MAX + 1], np.int64)),
        ("sampled", np.zeros(2, np.int64)),
        ("sample_keys", np.arange(WINDOW_ROWS_MAX, dtype=np.uint64)[::-1].copy()),
        ("sample_keys", np.zeros(3, np.uint64)),
        ("sample_times_ns", np.zeros(WINDOW_ROWS_MAX)),
        ("sample_traces", np.zeros((WINDOW_ROWS_MAX, 15), np.uint8)),
        ("sample_values", np.zeros((WINDOW_ROWS_MAX, 2))),
        ("sample_values", None),
    ],
)
def test_other_state_is_damaged(name: str, changed: object) -> None:
    """Samples of other sizes, types or order are refused."""
    tree = counted(many_rows()).packed().state() | {name: changed}
    with pytest.raises(DamagedError, match="sample"):
        PackedCounts.from_state(tree, LAYOUT)
