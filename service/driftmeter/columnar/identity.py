"""Who a span or log record is, and how many it stands for."""
# ruff: noqa: PLR2004 - lengths of ids and values of bytes.

from driftmeter.columnar.memory import IDENTITY_SEED, Bytes, hash_bytes, load8, load64, multiply_fold
from driftmeter.model.compiled import kernel

_STEP = 0x4B33A62ED433D4A3
_THRESHOLD_DIGITS = 14


@kernel
def valid_id(buffer: Bytes, begin: int, length: int, length_expected: int) -> bool:
    """Whether bytes are a trace id (16 bytes) or span id (8 bytes): not all zero."""
    if length != length_expected:
        return False
    return load64(buffer, begin) != 0 or (length == 16 and load64(buffer, begin + 8) != 0)


@kernel
def span_key(buffer: Bytes, trace_id: int, span_id: int, begin: int, end: int) -> int:
    """64-bit identity of a span: a pure function of its ids, the same in every process and version.

    Two multiply-and-fold rounds (see `hash_bytes`) over the three little-endian words of trace id and span id. A span
    without valid ids is known by the hash of all its bytes.

    Args:
        buffer: The request.
        trace_id: Offset of 16 bytes, or -1.
        span_id: Offset of 8 bytes, or -1.
        begin: First byte of the span.
        end: Its end.
    """
    if trace_id < 0 or span_id < 0:
        return hash_bytes(buffer, begin, end - begin, IDENTITY_SEED)
    state = multiply_fold(load64(buffer, trace_id) ^ IDENTITY_SEED, load64(buffer, trace_id + 8) ^ _STEP)
    return multiply_fold(state ^ IDENTITY_SEED, load64(buffer, span_id) ^ _STEP)


@kernel
def record_key(buffer: Bytes, begin: int, end: int) -> int:
    """64-bit identity of a log record: the hash of all its bytes, since several records may belong to one span.

    Two records that are alike in everything, their times included, are one.
    """
    return hash_bytes(buffer, begin, end - begin, IDENTITY_SEED)


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
