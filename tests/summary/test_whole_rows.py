"""What is counted of whole rows, against polars on the same rows."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from driftmeter.model.bins import CategoryBins
from driftmeter.model.contents import CONTENTS_MAX, NO_CONTENTS, Contents
from driftmeter.model.counts import NEVER_NS, Counts, Dropped
from driftmeter.model.predictions import Predictions
from driftmeter.summary.fold import fold
from rows import assert_same_counts, layout_of, predictions, record_batch

LAYOUT = layout_of({"x": [0.0, 1.0], "y": [0.0, 5.0], "c": CategoryBins(("a", "b"))})
SEEDS = range(5)


def some_rows(seed: int, rows: int = 3_000, values: int = 12) -> tuple[Predictions, pl.DataFrame]:
    """Rows of few different values, some missing, at random times; and the same as a data frame."""
    random = np.random.default_rng(seed)
    times = random.integers(0, 10**15, rows)
    columns: dict[str, list[float | str | None]] = {
        "x": [None if random.random() < 0.1 else float(value) for value in random.integers(0, values, rows)],
        "y": [None if random.random() < 0.5 else float(value) for value in random.integers(0, 3, rows)],
        "c": [None if random.random() < 0.1 else f"n{value}" for value in random.integers(0, 4, rows)],
    }
    return predictions(times, columns), pl.DataFrame({"time": times, **columns})


def counted(batch: Predictions, slots: Sequence[int] | None = None, windows: int = 1) -> Counts:
    """Counts of all rows."""
    counts = Counts.zeros(LAYOUT, windows)
    numbers = np.zeros(batch.rows.num_rows, np.int32) if slots is None else np.asarray(slots, np.int32)
    fold(LAYOUT, batch.rows, numbers, counts)
    return counts


def with_dropped(batch: Predictions, dropped: Sequence[int], row_index: Sequence[int]) -> pa.RecordBatch:
    """The rows with other numbers of dropped attributes, and other places in their spans."""
    schema = batch.rows.schema
    rows = batch.rows.set_column(
        schema.get_field_index("dropped_attributes_count"), "dropped_attributes_count", pa.array(dropped, pa.uint32())
    )
    return rows.set_column(schema.get_field_index("row_index"), "row_index", pa.array(row_index, pa.uint16()))


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_that_repeat_another_are_counted_exactly(seed: int) -> None:
    """Rows less distinct rows, as polars counts them, over all columns together."""
    batch, frame = some_rows(seed)
    distinct = frame.drop("time").unique().height
    assert distinct < CONTENTS_MAX
    assert counted(batch).contents[0].repeated(frame.height) == frame.height - distinct


@pytest.mark.parametrize("seed", SEEDS)
def test_newest_time_of_a_value_is_that_of_polars(seed: int) -> None:
    """By window and column, the newest event time of rows that have a value."""
    batch, frame = some_rows(seed, 500)
    slots = np.random.default_rng(seed).integers(0, 4, frame.height)
    counts = counted(batch, slots.tolist(), 5)
    for slot in range(4):
        part = frame.filter(slots == slot)
        expected = [part.filter(pl.col(name).is_not_null())["time"].max() for name in ("x", "y", "c")]
        assert counts.newest[slot].tolist() == expected
    assert (counts.newest[4] == NEVER_NS).all()


def test_a_column_that_is_absent_or_empty_has_no_newest_value() -> None:
    """Absent from the rows, or null in all of them."""
    counts = counted(predictions([5, 9], {"x": [1.0, None], "y": [None, None]}))
    assert counts.newest.tolist() == [[5, NEVER_NS, NEVER_NS]]


def test_rows_without_fixed_fields_say_nothing_of_whole_rows() -> None:
    """Reference rows have no times and no keys: nothing is known, which is not the same as none."""
    counts = Counts.zeros(LAYOUT)
    fold(LAYOUT, record_batch({"x": [1.0, 1.0]}), np.zeros(2, np.int32), counts)
    assert (counts.newest == NEVER_NS).all()
    assert counts.contents[0].repeated(2) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_order_and_cuts_of_rows_change_nothing(seed: int) -> None:
    """Whatever batches rows come in, and in whatever order, counts are the same bit for bit, also when packed."""
    batch, frame = some_rows(seed, 4_000, 4_000)
    whole = counted(batch)
    random = np.random.default_rng(seed)
    order = random.permutation(frame.height)
    cuts = np.sort(random.integers(0, frame.height, 7))
    total = Counts.zeros(LAYOUT)
    for part in np.split(order, cuts):
        counts = counted(Predictions(batch.key, batch.rows.take(part)))
        total.add(counts if random.random() < 0.5 else counts.packed())
    assert_same_counts(total, whole)
    assert_same_counts(whole.packed().dense(LAYOUT), whole)


@pytest.mark.parametrize("seed", SEEDS)
def test_windows_of_one_fold_are_those_of_their_rows_alone(seed: int) -> None:
    """Rows of several windows in one batch, in any order, are told apart."""
    batch, frame = some_rows(seed)
    slots = np.random.default_rng(seed).integers(0, 3, frame.height)
    counts = counted(batch, slots.tolist(), 3)
    for slot in range(3):
        assert_same_counts(counts.window(slot), counted(batch.keep(slots == slot)))


def test_content_is_that_of_values_not_of_codes_or_columns_order() -> None:
    """The same rows from other dictionaries, sliced, and with columns in another order are the same contents."""
    first = predictions([1, 2, 3], {"x": [1.0, -0.0, None], "c": ["b", "a", None]})
    second = predictions([4, 5, 6], {"c": ["zzz", "a", None, "b"][1:], "x": [0.0, None, 1.0]})
    total = counted(first)
    total.add(counted(second))
    assert total.contents[0].repeated(6) == 3
    assert total.contents[0].rows.tolist() == [2, 2, 2]


def test_values_in_other_columns_are_other_contents() -> None:
    """Swapping two columns' values is no repetition, nor is a missing value the same as a zero."""
    batch = predictions([1, 2, 3, 4], {"x": [1.0, 2.0, 0.0, None], "y": [2.0, 1.0, None, 0.0]})
    assert counted(batch).contents[0].repeated(4) == 0


def test_dropped_attributes_are_counted_once_a_span_and_for_each_row() -> None:
    """A span with two rows that lacks 5 attributes lacks them once; both of its rows are incomplete."""
    batch = predictions([1, 2, 3, 4], {"x": [1.0, 2.0, 3.0, 4.0]})
    rows = with_dropped(batch, [5, 5, 0, 2], [0, 1, 0, 0])
    counts = counted(Predictions(batch.key, rows))
    assert counts.dropped.tolist() == [[3, 7]]
    apart = counted(Predictions(batch.key, rows), [1, 1, 0, 0], 2)
    assert apart.dropped[:, Dropped.ROWS].tolist() == [1, 2]
    assert apart.dropped[:, Dropped.ATTRIBUTES].tolist() == [2, 5]


def contents_of(hashes: np.ndarray[tuple[int], np.dtype[np.uint64]], cut: int = 5_000) -> Contents:
    """Contents of rows with these hashes, some at a time."""
    known = NO_CONTENTS
    for first in range(0, len(hashes), cut):
        known = Contents.of(hashes[first : first + cut], known)
    return known


def random_hashes(seed: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Distinct contents."""
    return np.random.default_rng(seed).integers(0, 2**64 - 1, size, np.uint64, endpoint=True)


@pytest.mark.parametrize("seed", SEEDS)
def test_many_rows_without_repetition_repeat_none(seed: int) -> None:
    """However many rows: no false repetitions."""
    assert contents_of(random_hashes(seed, 50_000)).repeated(50_000) == 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_repetitions_among_many_rows_are_estimated(seed: int, share: float) -> None:
    """Rows sent twice: within 4 standard errors of a sample of `CONTENTS_MAX` contents."""
    distinct = random_hashes(seed, 40_000)
    twice = distinct[: round(len(distinct) * share)]
    hashes = np.random.default_rng(seed).permutation(np.concatenate((distinct, twice)))
    found = contents_of(hashes).repeated(len(hashes))
    assert found is not None
    error = 4 * math.sqrt(share * (1 - share) / CONTENTS_MAX) * len(distinct)
    assert abs(found - len(twice)) < max(error, 0.02 * len(distinct) * share)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_content_that_makes_up_half_of_the_rows_is_seen(seed: int) -> None:
    """Though the sample most likely does not hold it: the number of distinct contents tells."""
    hashes = random_hashes(seed, 40_000)
    stuck = np.full(40_000, np.uint64(2**63 + 12_345))
    found = contents_of(np.concatenate((hashes, stuck))).repeated(80_000)
    assert found is not None
    assert abs(found - 39_999) < 5 * 40_000 / math.sqrt(CONTENTS_MAX)
