"""Who a span or log record is, and how many it stands for."""
# ruff: noqa: PLR2004 - lengths of ids and values of bytes.

from driftmeter.columnar.layout import (
    ARRAY,
    ATTRIBUTE_LENGTH,
    ATTRIBUTE_TYPE,
    ATTRIBUTE_VALUE,
    BEARS_FEATURE,
    BEARS_PREDICTION,
    BOOL,
    DOUBLE,
    INT,
    NUMBER,
    PREDICTION_ID,
    SCOPE_HASH,
    SPAN_ANONYMOUS,
    SPAN_BEARING,
    SPAN_FIRST,
    SPAN_ID,
    SPAN_KEY,
    SPAN_SCOPE,
    SPAN_SPECIAL,
    SPAN_TRACE_ID,
    SPANS,
    STRING,
    Flat,
)
from driftmeter.columnar.memory import IDENTITY_SEED, Bytes, hash_bytes, load8, load64, multiply_fold
from driftmeter.columnar.schema import LOGS
from driftmeter.model.compiled import inlined, kernel

ID_BYTES_MAX = 256
"""Longest prediction id that is taken, in bytes."""

_STEP = 0x4B33A62ED433D4A3
_THRESHOLD_DIGITS = 14


@kernel
def valid_id(buffer: Bytes, begin: int, length: int, length_expected: int) -> bool:
    """Whether bytes are a trace id (16 bytes) or span id (8 bytes): not all zero."""
    if length != length_expected:
        return False
    return load64(buffer, begin) != 0 or (length == 16 and load64(buffer, begin + 8) != 0)


@kernel
def owner_hash(buffer: Bytes, begin: int, end: int, before: int) -> int:
    """Hash of a further piece of a Resource or scope, on top of `before`; an empty piece is as good as none."""
    if begin == end:
        return before
    return multiply_fold(before ^ hash_bytes(buffer, begin, end - begin, IDENTITY_SEED), _STEP)


@inlined
def identify(buffer: Bytes, flat: Flat, begin: int, end: int, signal: int) -> None:
    """Write the identity of the newest entry, which has been kept: a pure function of its bytes.

    Two entries with one key are taken for one that was sent twice, so a key is made of the least that is the same in
    both and of nothing less:

    * A span is its trace id and span id.
    * Without valid ids, a span with features or predictions is its own prediction id, and which of features,
      predictions and labels it has: labels that come on a further span are no copy of it.
    * Anything else is all its bytes: one span may have many log records, and one prediction several labels. What has
      no valid ids may be alike from several senders, and these differ in their resources: their bytes count too.

    Args:
        buffer: The request.
        flat: The entry in its last row.
        begin: First byte of the entry.
        end: Its end.
        signal: What it is: TRACES or LOGS of `schema`.
    """
    span = flat.spans[flat.state[SPANS] - 1]
    is_record = signal == LOGS
    has_ids = span[SPAN_TRACE_ID] >= 0 and span[SPAN_ID] >= 0
    if has_ids and not is_record:
        span[SPAN_KEY] = _ids_key(buffer, span[SPAN_TRACE_ID], span[SPAN_ID])
        return
    row = span[SPAN_SPECIAL + PREDICTION_ID]
    # An id that stands on the resource or scope is that of all its entries.
    named, named_key = _prediction_key(buffer, flat, row) if row >= span[SPAN_FIRST] else (False, 0)
    span[SPAN_ANONYMOUS] = int(not has_ids and not named)
    if named and not is_record and span[SPAN_BEARING] & (BEARS_FEATURE | BEARS_PREDICTION):
        span[SPAN_KEY] = multiply_fold(named_key ^ span[SPAN_BEARING], _STEP)
        return
    span[SPAN_KEY] = hash_bytes(buffer, begin, end - begin, IDENTITY_SEED)
    if not has_ids:
        span[SPAN_KEY] = multiply_fold(span[SPAN_KEY] ^ flat.scopes[span[SPAN_SCOPE], SCOPE_HASH], _STEP)


@inlined
def _ids_key(buffer: Bytes, trace_id: int, span_id: int) -> int:
    """Two multiply-and-fold rounds (see `hash_bytes`) over the little-endian words of trace id and span id."""
    state = multiply_fold(load64(buffer, trace_id) ^ IDENTITY_SEED, load64(buffer, trace_id + 8) ^ _STEP)
    return multiply_fold(state ^ IDENTITY_SEED, load64(buffer, span_id) ^ _STEP)


@kernel
def _prediction_key(buffer: Bytes, flat: Flat, row: int) -> tuple[bool, int]:
    """Whether an attribute is a prediction id that is taken, or an array of these alone, and its hash."""
    first, stop, state = row, row + 1, IDENTITY_SEED
    if flat.attributes[row, ATTRIBUTE_TYPE] == ARRAY:
        first = flat.attributes[row, ATTRIBUTE_VALUE]
        stop = first + flat.attributes[row, ATTRIBUTE_LENGTH]
        state = multiply_fold(state ^ (stop - first), _STEP)
    for each in range(first, stop):
        kind, value = flat.attributes[each, ATTRIBUTE_TYPE], flat.attributes[each, ATTRIBUTE_VALUE]
        length = flat.attributes[each, ATTRIBUTE_LENGTH]
        if kind in (STRING, NUMBER) and 0 < length <= ID_BYTES_MAX:
            value = hash_bytes(buffer, value, length, IDENTITY_SEED)
        elif kind not in (BOOL, INT, DOUBLE):
            return False, 0
        state = multiply_fold(state ^ value, _STEP + 2 * kind)
    return stop > first, state


@kernel
def sampling_threshold(buffer: Bytes, begin: int, end: int) -> int:
    """Rejection threshold of a tracestate's `ot=th:<hex>`, of 2^56; 0, which is unsampled, when absent or invalid.

    https://opentelemetry.io/docs/specs/otel/trace/tracestate-handling/: list members are separated by commas,
    subkeys of `ot` by semicolons; 1 to 14 lowercase hexadecimal digits, trailing zeros left out.
    """
    while begin < end:
        stop = _until(buffer, begin, end, 0x2C)
        while begin < stop and load8(buffer, begin) in (0x20, 0x09):
            begin += 1
        if stop - begin >= 3 and (load8(buffer, begin), load8(buffer, begin + 1), load8(buffer, begin + 2)) == (
            0x6F,  # o
            0x74,  # t
            0x3D,  # =
        ):
            return _subkey_threshold(buffer, begin + 3, stop)
        begin = stop + 1
    return 0


@kernel
def _until(buffer: Bytes, begin: int, end: int, mark: int) -> int:
    while begin < end and load8(buffer, begin) != mark:
        begin += 1
    return begin


@kernel
def _subkey_threshold(buffer: Bytes, begin: int, end: int) -> int:
    while end > begin and load8(buffer, end - 1) in (0x20, 0x09):
        end -= 1
    while begin < end:
        stop = _until(buffer, begin, end, 0x3B)
        if stop - begin >= 3 and (load8(buffer, begin), load8(buffer, begin + 1), load8(buffer, begin + 2)) == (
            0x74,  # t
            0x68,  # h
            0x3A,  # :
        ):
            return _hexadecimal(buffer, begin + 3, stop)
        begin = stop + 1
    return 0


@kernel
def _hexadecimal(buffer: Bytes, begin: int, end: int) -> int:
    """Digits, padded with zeros on the right to 56 bits; 0 when they are not 1 to 14 digits."""
    digits = end - begin
    if digits < 1 or digits > _THRESHOLD_DIGITS:
        return 0
    value = 0
    for i in range(begin, end):
        byte = load8(buffer, i)
        if 0x30 <= byte <= 0x39:
            value = value * 16 + byte - 0x30
        elif 0x61 <= byte <= 0x66:
            value = value * 16 + byte - 0x61 + 10
        else:
            return 0
    return value << (4 * (_THRESHOLD_DIGITS - digits))
