"""Whether a new column is numeric or categorical: as its first value says, in the order of rows."""
# ruff: noqa: PLR0913 - kernels take arrays one by one.

from driftmeter.columnar.columns import CATEGORICAL, NUMERIC, UNDECIDED
from driftmeter.columnar.entry import OWN, RESOURCE_LEVEL, SCOPE_LEVEL, level_of
from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_FIELD,
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    BOOL,
    DOUBLE,
    INT,
    SPECIALS,
    STRING,
    VISITED,
    Flat,
    Ints,
)
from driftmeter.model.compiled import kernel

_OPEN, _SEEN, _BEST = 0, OWN, OWN + 1
DECIDING_WORDS = OWN + 2
"""Rows of `first_kinds`' room: for resource and scope, the first entry of the current run of entries with the same
owner that has no nearer value; the run or entry a column was last seen in; the entry that decided it."""


@kernel
def first_kinds(flat: Flat, spans: Ints, column_of_field: Ints, room: Ints, kinds: Ints) -> None:
    """Find the kind of each column's first scalar value.

    Only values that are not overwritten by a nearer level or a later duplicate count. Each attribute of an owner is
    looked at once for all entries that have it: it stands for the first of these without a nearer value.

    Args:
        flat: The request.
        spans: Rows of the batch's spans.
        column_of_field: Each field's column.
        room: Shape (`DECIDING_WORDS`, columns).
        kinds: UNDECIDED for each column; receives NUMERIC or CATEGORICAL where a value says so.
    """
    room[:_SEEN] = 0
    room[_SEEN], room[_BEST] = -1, spans.size
    run = resource = scope = 0
    for i in range(spans.size + 1):
        ends = i == spans.size
        if (
            ends
            or _differ(flat, spans[scope], spans[i], SCOPE_LEVEL)
            or _differ(flat, spans[resource], spans[i], RESOURCE_LEVEL)
        ):
            run += 1
            _end_run(flat, spans[scope], SCOPE_LEVEL, scope, i, -1 - run, column_of_field, room, kinds)
            _cover(flat, spans[scope], resource, scope, i, column_of_field, room)
            scope = i
        if ends or _differ(flat, spans[resource], spans[i], RESOURCE_LEVEL):
            run += 1
            _end_run(flat, spans[resource], RESOURCE_LEVEL, resource, i, -1 - run, column_of_field, room, kinds)
            resource = i
        if not ends:
            _look_at(flat, spans[i], i, resource, scope, column_of_field, room, kinds)


@kernel
def _differ(flat: Flat, span: int, other: int, level: int) -> bool:
    first, stop = level_of(flat, span, level)
    other_first, other_stop = level_of(flat, other, level)
    return bool(first != other_first or stop != other_stop)


@kernel
def _look_at(
    flat: Flat, span: int, i: int, resource: int, scope: int, column_of_field: Ints, room: Ints, kinds: Ints
) -> None:
    """Own attributes of the i-th entry, the last one of each column."""
    first, stop = level_of(flat, span, OWN)
    for row in range(stop - 1, first - 1, -1):
        field = flat.attributes[row, ATTRIBUTE_FIELD]
        column = column_of_field[field] if field >= SPECIALS else -1
        if column < 0 or room[_SEEN, column] == i:
            continue
        room[_SEEN, column] = i
        _decide(flat, row, column, i, room, kinds)
        for level, start in ((RESOURCE_LEVEL, resource), (SCOPE_LEVEL, scope)):
            if max(room[_OPEN + level, column], start) == i:
                room[_OPEN + level, column] = i + 1


@kernel
def _end_run(
    flat: Flat,
    span: int,
    level: int,
    start: int,
    end: int,
    run: int,
    column_of_field: Ints,
    room: Ints,
    kinds: Ints,
) -> None:
    """Attributes of an owner that the entries from `start` to `end` have in common."""
    first, stop = level_of(flat, span, level)
    for row in range(stop - 1, first - 1, -1):
        flat.state[VISITED] += 1
        field = flat.attributes[row, ATTRIBUTE_FIELD]
        column = column_of_field[field] if field >= SPECIALS else -1
        if column >= 0 and room[_SEEN, column] != run:
            room[_SEEN, column] = run
            entry = max(room[_OPEN + level, column], start)
            if entry < end:
                _decide(flat, row, column, entry, room, kinds)


@kernel
def _cover(flat: Flat, span: int, resource: int, start: int, end: int, column_of_field: Ints, room: Ints) -> None:
    """What a scope says, its resource does not say to the entries from `start` to `end`."""
    first, stop = level_of(flat, span, SCOPE_LEVEL)
    for row in range(first, stop):
        field = flat.attributes[row, ATTRIBUTE_FIELD]
        column = column_of_field[field] if field >= SPECIALS else -1
        if column >= 0 and max(room[_OPEN + RESOURCE_LEVEL, column], resource) >= start:
            room[_OPEN + RESOURCE_LEVEL, column] = end


@kernel
def _decide(flat: Flat, row: int, column: int, entry: int, room: Ints, kinds: Ints) -> None:
    if entry < room[_BEST, column]:
        kind = _kind_of(flat, row)
        if kind != UNDECIDED:
            kinds[column], room[_BEST, column] = kind, entry


@kernel
def _kind_of(flat: Flat, row: int) -> int:
    """NUMERIC or CATEGORICAL by the first scalar of an attribute; UNDECIDED without one."""
    first, stop = row, row + 1
    if flat.attributes[row, ATTRIBUTE_TYPE] == ARRAY:
        first = flat.attributes[row, ATTRIBUTE_VALUE]
        stop = first + flat.attributes[row, ATTRIBUTE_LENGTH] if first >= 0 else first
    for each in range(first, stop):
        kind = flat.attributes[each, ATTRIBUTE_TYPE]
        if kind in (DOUBLE, INT, STRING, BOOL):
            return NUMERIC if kind in (DOUBLE, INT) else CATEGORICAL
    return UNDECIDED
