"""Rows of one model, of the archive or of a file, counted again into windows as the service counted them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.baseline.data import Rows
from driftmeter.baseline.derivation import Derivation
from driftmeter.baseline.segments import rows_of
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import Column
from driftmeter.model.counts import Counts, PackedCounts
from driftmeter.model.predictions import ModelKey
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import WindowLength
from driftmeter.summary.fold import fold
from driftmeter.window.batch import event_times_ns

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TimedRows:
    """Rows of one model with times.

    Attributes:
        key: The model, version and stage.
        source: What they are read from, for messages.
        unit_ns: Length of the units of time in which is known whether there are rows.
        units: int64 (units,): numbers of those that have some, ascending.
        between: The rows of the units from one time to before another.
    """

    key: ModelKey
    source: str
    unit_ns: int
    units: Ints
    between: Callable[[int, int], Rows]

    def of_segment(self, label: str, known: Sequence[str]) -> "TimedRows":
        """Those of one segment.

        Args:
            label: Its label.
            known: Labels of all segments that are judged: the rows of all other values of a column are its others.
        """

        def between(start_ns: int, end_ns: int) -> Rows:
            return rows_of(self.between(start_ns, end_ns), label, known)

        return replace(self, source=f"{self.source}, {label}", between=between)

    def last_ns(self) -> int:
        """The newest row's time."""
        start_ns = int(self.units[-1]) * self.unit_ns
        newest = [
            int(event_times_ns(batch).max())
            for batch in self.between(start_ns, start_ns + self.unit_ns).batches([], times=True)
            if batch.num_rows
        ]
        return max(newest, default=start_ns)

    def may_hold(self, start_ns: int, end_ns: int) -> bool:
        """Whether there may be rows in this time."""
        first = np.searchsorted(self.units, start_ns // self.unit_ns)
        return bool(first < len(self.units) and self.units[first] * self.unit_ns < end_ns)


def count_windows(
    rows: TimedRows,
    baseline: Baseline,
    column: Column,
    length: WindowLength,
    starts_ns: Sequence[int],
    on_rows: Callable[[int, int], None],
) -> list[WindowCounts]:
    """Windows by time that do not overlap, counted in one pass over their rows; those without rows are left out.

    Args:
        rows: Where the rows are.
        baseline: What they are compared with: its bins, and how it looks at texts and vectors.
        column: What is looked at; all other columns count as missing.
        length: The windows' length.
        starts_ns: Their first instants, ascending, a multiple of the length apart.
        on_rows: Called with the number of rows read and in all.
    """
    first_ns = starts_ns[0]
    wanted = {(start_ns - first_ns) // length.length_ns for start_ns in starts_ns}
    found = rows.between(first_ns, starts_ns[-1] + length.length_ns)
    layout, derivation = baseline.layout, Derivation.of(baseline)
    fields = [field for field in derivation.sources([column.field]) if field in found.kinds]
    counted: dict[int, PackedCounts] = {}
    read = 0
    for raw in found.batches(fields, times=True):
        batch, mismatches = derivation.numbers(raw, {})
        numbers = (event_times_ns(batch) - first_ns) // length.length_ns
        order = np.argsort(numbers, kind="stable")
        there, begins = np.unique(numbers[order], return_index=True)
        for number, part in zip(there.tolist(), np.split(order, begins[1:]), strict=True):
            if number in wanted:
                counts = counted[number].dense(layout) if number in counted else Counts.zeros(layout)
                wrong = {name: np.flatnonzero(np.isin(part, at)).astype(np.uint32) for name, at in mismatches.items()}
                fold(layout, batch.take(pa.array(part)), np.zeros(len(part), np.int32), counts, wrong)
                counted[number] = counts.packed()
        read += batch.num_rows
        on_rows(read, found.count)
    return [_window(length, first_ns + number * length.length_ns, counts) for number, counts in sorted(counted.items())]


def _window(length: WindowLength, start_ns: int, counts: PackedCounts) -> WindowCounts:
    return WindowCounts(length, start_ns // length.hop_ns, start_ns, start_ns + length.length_ns, 0, counts)
