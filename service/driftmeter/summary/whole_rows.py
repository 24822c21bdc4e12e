"""What is counted of whole rows: what they hold, when a column last had a value, what senders left out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.model.bins import NumericBins
from driftmeter.model.compiled import inlined, kernel
from driftmeter.model.contents import Contents, Hashes
from driftmeter.model.counts import NEVER_NS, Counts, Dropped
from driftmeter.model.exact import bits_of
from driftmeter.model.layout import Layout
from driftmeter.summary.arrow import (
    Exported,
    byte_at,
    child_of,
    data_of,
    dictionary_of,
    double_at,
    int32_at,
    is_valid,
    length_of,
    offset_of,
    texts_of,
    validity_of,
)
from driftmeter.summary.slots import Slots

Ints = npt.NDArray[np.int64]

_NEVER_NS = NEVER_NS
_HASH_START, _HASH_STEP = np.uint64(14695981039346656037), np.uint64(1099511628211)  # FNV-1a of 64 bits.
# The finalizer of splitmix64: Steele, Lea, Flood, 2014, https://doi.org/10.1145/2714064.2660195
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


class Columns(NamedTuple):
    """Where the columns of one kind are.

    Attributes:
        number: int64 (n,): each one's number in the layout.
        child: int64 (n,): its column of the batch; -1 for none.
    """

    number: Ints
    child: Ints


class WholeRows(NamedTuple):
    """What some rows add to `Counts` beside their columns, ready to be added.

    Attributes:
        newest: int64 (w, c), or None where rows have no times.
        dropped: uint64 (w, len(Dropped)), or None where no span lacks attributes.
        contents: Of each window, with what it has had so far; None where rows are not looked at as a whole.
    """

    newest: Ints | None
    dropped: npt.NDArray[np.uint64] | None
    contents: list[Contents] | None

    def add_to(self, counts: Counts) -> None:
        """Count them."""
        if self.newest is not None:
            np.maximum(counts.newest, self.newest, out=counts.newest)
        if self.dropped is not None:
            np.add(counts.dropped, self.dropped, out=counts.dropped)
        if self.contents is not None:
            counts.contents[:] = self.contents


class RowReader:
    """Looks at whole rows of one layout.

    Args:
        layout: The columns that make up a row's content.
    """

    def __init__(self, layout: Layout) -> None:
        self._columns = len(layout.columns)
        names = [column.field.encode("utf-8", "surrogatepass") for column in layout.columns]
        texts = np.frombuffer(b"".join(names), np.uint8)
        self._salts = np.empty(len(names), np.uint64)
        _hash_names(texts, np.cumsum([0, *map(len, names)], dtype=np.int64), self._salts)

    def read(
        self, rows: pa.RecordBatch, address: int, numbers: Columns, names: Columns, slots: Slots, counts: Counts
    ) -> WholeRows:
        """What rows with the fixed fields of `Predictions` add to `counts`; nothing is counted yet.

        Args:
            rows: The rows.
            address: Of their `struct ArrowArray`.
            numbers: The numeric columns.
            names: The categorical ones.
            slots: Windows of the rows.
            counts: What was counted so far.
        """
        newest = dropped = contents = None
        present = rows.schema.names
        if "event_time" in present:
            times = rows.column("event_time").view("int64").to_numpy()
            newest = np.full((len(counts.rows), self._columns), NEVER_NS, np.int64)
            for columns in (numbers, names):
                find_newest(address, columns, times, slots, newest)
        if "dropped_attributes_count" in present:
            dropped = _dropped(rows, slots, len(counts.rows))
        if "span_key" in present or "row_index" in present:
            contents = self._contents(self.hashes(rows.num_rows, address, numbers, names), slots, counts)
        return WholeRows(newest, dropped, contents)

    def hashes(self, rows: int, address: int, numbers: Columns, names: Columns) -> Hashes:
        """uint64 (rows,): of the content of each row; arguments as for `read`."""
        hashes = np.zeros(rows, np.uint64)
        hash_numbers(address, numbers, self._salts, hashes)
        hash_names(address, names, self._salts, np.empty(distinct_max(address, names.child), np.uint64), hashes)
        return hashes

    def _contents(self, hashes: Hashes, slots: Slots, counts: Counts) -> list[Contents]:
        if len(slots.order):
            hashes = hashes[slots.order]
        bounds = slots.bounds.tolist()
        return [
            Contents.of(hashes[first:end], known) if end > first else known
            for known, first, end in zip(counts.contents, bounds[:-1], bounds[1:], strict=True)
        ]


def hash_contents(layout: Layout, rows: pa.RecordBatch) -> Hashes:
    """uint64 (rows,): of the content of each row, those of parts of the columns add up to those of all.

    Args:
        layout: The columns.
        rows: Fields named `Column.field`, all that the layout has: float64 or dictionary<int32, string>.
    """
    numeric = np.array([isinstance(each, NumericBins) for each in layout.bins])
    children = np.array([rows.schema.get_field_index(each.field) for each in layout.columns], np.int64)
    batch = Exported(rows)
    numbers, names = (Columns(np.flatnonzero(each), children[each]) for each in (numeric, ~numeric))
    return RowReader(layout).hashes(rows.num_rows, batch.address, numbers, names)


def _dropped(rows: pa.RecordBatch, slots: Slots, windows: int) -> npt.NDArray[np.uint64] | None:
    """Rows of spans that lack attributes, and how many attributes these spans lack."""
    lacking = rows.column("dropped_attributes_count").to_numpy()
    if not lacking.any():
        return None
    first = rows.column("row_index").to_numpy() == 0 if "row_index" in rows.schema.names else True
    missing = np.where(first, lacking, 0).astype(np.uint64)
    has = (lacking > 0).astype(np.uint64)
    if len(slots.order):
        missing, has = missing[slots.order], has[slots.order]
    found = np.zeros((windows, len(Dropped)), np.uint64)
    filled = np.flatnonzero(np.diff(slots.bounds))
    found[filled, Dropped.ROWS] = np.add.reduceat(has, slots.bounds[filled])
    found[filled, Dropped.ATTRIBUTES] = np.add.reduceat(missing, slots.bounds[filled])
    return found


@inlined
def _mixed(bits: np.uint64) -> np.uint64:
    """Every bit of the result depends on every bit given."""
    bits = (bits ^ (bits >> _30)) * _FIRST
    bits = (bits ^ (bits >> _27)) * _SECOND
    return bits ^ (bits >> _31)


@kernel
def _hash_names(texts: npt.NDArray[np.uint8], bounds: Ints, salts: Hashes) -> None:
    """A number for each column, by its name alone: the same in all layouts."""
    for i in range(len(salts)):
        state = _HASH_START
        for k in range(bounds[i], bounds[i + 1]):
            state = (state ^ np.uint64(texts[k])) * _HASH_STEP
        salts[i] = _mixed(state)


@kernel
def hash_numbers(batch: int, columns: Columns, salts: Hashes, hashes: Hashes) -> None:
    """Add the values of numeric columns to the hashes of their rows, uint64 (rows,); missing ones add nothing.

    Sums of what each column's value is mixed into do not depend on the order of columns.
    """
    for i in range(len(columns.child)):
        if columns.child[i] < 0:
            continue
        array = child_of(batch, columns.child[i])
        validity, data, offset = validity_of(array), data_of(array), offset_of(array)
        salt = salts[columns.number[i]]
        if validity == 0:
            for row in range(len(hashes)):
                hashes[row] += _mixed(np.uint64(bits_of(double_at(data, offset + row) + 0.0)) ^ salt)
            continue
        for row in range(len(hashes)):
            hashed = _mixed(np.uint64(bits_of(double_at(data, offset + row) + 0.0)) ^ salt)
            hashes[row] += hashed * np.uint64(is_valid(validity, offset + row))


@kernel
def distinct_max(batch: int, children: Ints) -> int:
    """Names of the categorical column of a batch that has the most."""
    most = 0
    for child in children:
        if child >= 0:
            most = max(most, length_of(dictionary_of(child_of(batch, child))))
    return most


@kernel
def hash_names(batch: int, columns: Columns, salts: Hashes, codes: Hashes, hashes: Hashes) -> None:
    """The same for categorical columns; `codes`, uint64 (distinct_max,), is room to work in."""
    for i in range(len(columns.child)):
        if columns.child[i] < 0:
            continue
        array = child_of(batch, columns.child[i])
        names = dictionary_of(array)
        ends, texts, count = data_of(names), texts_of(names), length_of(names)
        salt = salts[columns.number[i]]
        for code in range(count):
            begin, end = int32_at(ends, offset_of(names) + code), int32_at(ends, offset_of(names) + code + 1)
            state = _HASH_START
            for k in range(begin, end):
                state = (state ^ np.uint64(byte_at(texts, k))) * _HASH_STEP
            codes[code] = _mixed(state ^ salt)
        validity, data, offset = validity_of(array), data_of(array), offset_of(array)
        for row in range(len(hashes)):
            code = int32_at(data, offset + row)
            if is_valid(validity, offset + row) and 0 <= code < count:
                hashes[row] += codes[code]


@kernel
def find_newest(batch: int, columns: Columns, times: Ints, slots: Slots, newest: Ints) -> None:
    """Newest time of a row with a value, by window and column; int64 (w, c), changed in place."""
    in_order = len(slots.order) == 0
    for slot in range(len(slots.bounds) - 1):
        begin, end = slots.bounds[slot], slots.bounds[slot + 1]
        of_any = _NEVER_NS
        for i in range(begin, end):
            of_any = max(of_any, times[i if in_order else int(slots.order[i])])
        for k in range(len(columns.child)):
            if columns.child[k] < 0 or begin == end:
                continue
            array = child_of(batch, columns.child[k])
            validity, offset = validity_of(array), offset_of(array)
            found = of_any
            if validity != 0:
                found = _NEVER_NS
                for i in range(begin, end):
                    row = i if in_order else int(slots.order[i])
                    time = times[row]
                    found = max(found, time if is_valid(validity, offset + row) else _NEVER_NS)
            newest[slot, columns.number[k]] = max(newest[slot, columns.number[k]], found)
