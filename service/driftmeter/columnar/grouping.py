"""Which model, version and stage each span belongs to."""

import numpy as np
import numpy.typing as npt

from driftmeter.columnar.layout import (
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    DOUBLE,
    EMPTY,
    MODEL,
    SEED,
    SPAN_GROUP,
    SPAN_SPECIAL,
    SPANS,
    STAGE,
    STRING,
    Flat,
    Ints,
)
from driftmeter.columnar.memory import Bytes, equal, hash_bytes, multiply_fold
from driftmeter.model.compiled import inlined, kernel

GROUPS_MAX = 1_000
"""Most models, versions and stages in one request. Each becomes a batch of its own at a cost of some 100 µs."""

GROUP_VALUE, GROUP_ROWS, GROUP_HASH = 0, 3, 4
GROUP_WORDS = 5
"""Attributes giving model, version and stage, -1 for none; number of spans; hash of the three values."""

_SLOTS = 2_048
_STEP = 0x4B33A62ED433D4A3


def make_groups() -> tuple[Ints, npt.NDArray[np.int32]]:
    """Room for `group_spans`: the groups, and slots of its hash table."""
    return np.empty((GROUPS_MAX, GROUP_WORDS), np.int64), np.empty(_SLOTS, np.int32)


@inlined
def is_text(attributes: Ints, row: int) -> bool:
    """Whether an attribute can be written as a text that is not empty."""
    kind = attributes[row, ATTRIBUTE_TYPE]
    return bool(kind != EMPTY and kind <= DOUBLE and (kind != STRING or attributes[row, ATTRIBUTE_LENGTH] > 0))


@kernel
def same_value(buffer: Bytes, attributes: Ints, left: int, right: int) -> bool:
    """Whether two attributes, -1 for none, have the same type and value."""
    if left == right:
        return True
    if left < 0 or right < 0 or attributes[left, ATTRIBUTE_TYPE] != attributes[right, ATTRIBUTE_TYPE]:
        return False
    ours, theirs = attributes[left, ATTRIBUTE_VALUE], attributes[right, ATTRIBUTE_VALUE]
    if attributes[left, ATTRIBUTE_TYPE] != STRING:
        return bool(ours == theirs)
    length = attributes[left, ATTRIBUTE_LENGTH]
    return length == attributes[right, ATTRIBUTE_LENGTH] and equal(buffer, ours, theirs, length)


@kernel
def hash_value(buffer: Bytes, attributes: Ints, row: int, seed: int) -> int:
    """Hash of an attribute's type and value; of nothing for -1."""
    if row < 0:
        return seed
    kind = attributes[row, ATTRIBUTE_TYPE]
    if kind == STRING:
        return hash_bytes(buffer, attributes[row, ATTRIBUTE_VALUE], attributes[row, ATTRIBUTE_LENGTH], seed)
    return multiply_fold(attributes[row, ATTRIBUTE_VALUE] ^ seed, _STEP + 2 * kind)


@kernel
def group_spans(buffer: Bytes, flat: Flat, groups: Ints, slots: npt.NDArray[np.int32]) -> int:
    """Write each span's group into `SPAN_GROUP`, -1 where there are too many; return the number of groups.

    Values that no text can stand for count as absent.
    """
    spans, attributes, seed = flat.spans, flat.attributes, flat.state[SEED]
    slots[:] = -1
    count, group = 0, -1
    for span in range(flat.state[SPANS]):
        for part in range(MODEL, STAGE + 1):
            value = spans[span, SPAN_SPECIAL + part]
            if value >= 0 and not is_text(attributes, value):
                spans[span, SPAN_SPECIAL + part] = -1
        # Neighbours mostly belong together.
        if group < 0 or not _belongs(buffer, flat, span, groups, group):
            hashed = seed
            for part in range(MODEL, STAGE + 1):
                value = hash_value(buffer, attributes, spans[span, SPAN_SPECIAL + part], seed + part)
                hashed = multiply_fold(hashed ^ value, _STEP)
            slot = hashed & (_SLOTS - 1)
            while slots[slot] >= 0 and not (
                groups[slots[slot], GROUP_HASH] == hashed and _belongs(buffer, flat, span, groups, slots[slot])
            ):
                slot = (slot + 1) & (_SLOTS - 1)
            group = slots[slot]
            if group < 0 and count < GROUPS_MAX:
                group = count
                slots[slot] = group
                groups[group, GROUP_ROWS], groups[group, GROUP_HASH] = 0, hashed
                for part in range(MODEL, STAGE + 1):
                    groups[group, GROUP_VALUE + part] = spans[span, SPAN_SPECIAL + part]
                count += 1
        spans[span, SPAN_GROUP] = group
        if group >= 0:
            groups[group, GROUP_ROWS] += 1
    return count


@kernel
def _belongs(buffer: Bytes, flat: Flat, span: int, groups: Ints, group: int) -> bool:
    for part in range(MODEL, STAGE + 1):
        if not same_value(
            buffer, flat.attributes, flat.spans[span, SPAN_SPECIAL + part], groups[group, GROUP_VALUE + part]
        ):
            return False
    return True


@kernel
def order_spans(flat: Flat, batch_of_group: Ints, next_row: Ints, order: Ints) -> None:
    """Sort spans by batch, keeping their order within each.

    Args:
        flat: Spans with their groups.
        batch_of_group: The batch that each group's rows go to.
        next_row: First place of each batch in `order`; moved to its end.
        order: Receives the spans' rows; spans without a group are left out.
    """
    for span in range(flat.state[SPANS]):
        group = flat.spans[span, SPAN_GROUP]
        if group >= 0:
            batch = batch_of_group[group]
            order[next_row[batch]] = span
            next_row[batch] += 1
