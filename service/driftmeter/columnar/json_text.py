"""JSON texts (RFC 8259, and NaN and Infinity, which Python writes): where values end, and their characters.

Every function takes a range of the request that is UTF-8 and returns positions in it, -1 for what is no JSON.
"""
# ruff: noqa: PLR0911, PLR0912, PLR2004, C901 - kernels leave at the first fault, and know bytes by value.

from driftmeter.columnar.memory import Bytes, load8, store8
from driftmeter.model.compiled import inlined, kernel

DEPTH_MAX = 60
"""Arrays and objects nest as deep at most: their kinds are the bits of one number."""

_QUOTE, _BACKSLASH, _COMMA, _COLON = 0x22, 0x5C, 0x2C, 0x3A
OBJECT, OBJECT_END, LIST, LIST_END, QUOTE = 0x7B, 0x7D, 0x5B, 0x5D, _QUOTE
_REPLACEMENT = 0xFFFD


@inlined
def skip_space(buffer: Bytes, position: int, end: int) -> int:
    """Position of the next byte that is no white space, or `end`."""
    while position < end and load8(buffer, position) in (0x20, 0x0A, 0x0D, 0x09):
        position += 1
    return position


@kernel
def skip_string(buffer: Bytes, position: int, end: int) -> int:
    """Position behind the closing quote; `position` is that of the opening one."""
    position += 1
    while position < end:
        byte = load8(buffer, position)
        position += 1
        if byte == _QUOTE:
            return position
        if byte < 0x20:
            return -1
        if byte == _BACKSLASH:
            if position >= end:
                return -1
            byte = load8(buffer, position)
            position += 1
            if byte == 0x75:  # u and four digits.
                if position + 4 > end or _hexadecimal(buffer, position) < 0:
                    return -1
                position += 4
            elif byte not in (_QUOTE, _BACKSLASH, 0x2F, 0x62, 0x66, 0x6E, 0x72, 0x74):
                return -1
    return -1


@kernel
def _hexadecimal(buffer: Bytes, position: int) -> int:
    value = 0
    for i in range(4):
        byte = load8(buffer, position + i)
        lower = byte | 0x20
        if 0x30 <= byte <= 0x39:
            value = value * 16 + byte - 0x30
        elif 0x61 <= lower <= 0x66:
            value = value * 16 + lower - 0x61 + 10
        else:
            return -1
    return value


@inlined
def _skip_digits(buffer: Bytes, position: int, end: int) -> int:
    while position < end and 0x30 <= load8(buffer, position) <= 0x39:
        position += 1
    return position


@kernel
def skip_number(buffer: Bytes, position: int, end: int) -> tuple[int, bool]:
    """Position behind a number, and whether it is written as a whole one."""
    if position < end and load8(buffer, position) == 0x2D:
        position += 1
    first = position
    position = _skip_digits(buffer, position, end)
    if position == first or (load8(buffer, first) == 0x30 and position > first + 1):
        return -1, False
    whole = True
    if position < end and load8(buffer, position) == 0x2E:
        whole, first = False, position + 1
        position = _skip_digits(buffer, first, end)
        if position == first:
            return -1, False
    if position < end and load8(buffer, position) | 0x20 == 0x65:
        whole, first = False, position + 1
        if first < end and load8(buffer, first) in (0x2B, 0x2D):
            first += 1
        position = _skip_digits(buffer, first, end)
        if position == first:
            return -1, False
    return position, whole


@kernel
def skip_word(buffer: Bytes, position: int, end: int) -> int:
    """Position behind true, false, null, NaN, Infinity or -Infinity."""
    left = end - position
    word = 0
    for i in range(min(left, 9)):
        word |= load8(buffer, position + i) << (8 * i) if i < 8 else 0
    if word & 0xFFFFFFFF in (0x65757274, 0x6C6C756E):  # true, null
        return position + 4
    if word & 0xFFFFFFFFFF == 0x65736C6166:
        return position + 5
    if word & 0xFFFFFF == 0x4E614E:
        return position + 3
    if word == 0x7974696E69666E49:
        return position + 8
    if word == 0x74696E69666E492D and left >= 9 and load8(buffer, position + 8) == 0x79:
        return position + 9
    return -1


@kernel
def skip_scalar_value(buffer: Bytes, position: int, end: int) -> int:
    """Position behind a text, a number or a word."""
    byte = load8(buffer, position)
    if byte == _QUOTE:
        return skip_string(buffer, position, end)
    if 0x30 <= byte <= 0x39 or (byte == 0x2D and position + 1 < end and load8(buffer, position + 1) != 0x49):
        return skip_number(buffer, position, end)[0]
    return skip_word(buffer, position, end)


@kernel
def _skip_name(buffer: Bytes, position: int, end: int) -> int:
    """Position behind a member's name and its colon."""
    position = skip_space(buffer, position, end)
    if position >= end or load8(buffer, position) != _QUOTE:
        return -1
    position = skip_string(buffer, position, end)
    if position < 0:
        return -1
    position = skip_space(buffer, position, end)
    return position + 1 if position < end and load8(buffer, position) == _COLON else -1


@kernel
def skip_value(buffer: Bytes, position: int, end: int) -> int:
    """Position behind any value, which may begin after white space."""
    depth = kinds = 0  # One bit for each level: 1 for an object.
    while True:
        position = skip_space(buffer, position, end)
        if position >= end:
            return -1
        byte = load8(buffer, position)
        opened = byte in (OBJECT, LIST)
        if opened:
            if depth == DEPTH_MAX:
                return -1
            depth, kinds = depth + 1, kinds << 1 | int(byte == OBJECT)
            position = skip_space(buffer, position + 1, end)
            if position >= end:
                return -1
            opened = load8(buffer, position) != (OBJECT_END if kinds & 1 else LIST_END)
            if opened and kinds & 1:
                position = _skip_name(buffer, position, end)
        else:
            position = skip_scalar_value(buffer, position, end)
        if position < 0:
            return -1
        while not opened:  # Behind a value, or at the end of an empty container.
            if depth == 0:
                return position
            position = skip_space(buffer, position, end)
            if position >= end:
                return -1
            byte = load8(buffer, position)
            position += 1
            if byte == (OBJECT_END if kinds & 1 else LIST_END):
                depth, kinds = depth - 1, kinds >> 1
                continue
            if byte != _COMMA:
                return -1
            opened = True
            if kinds & 1:
                position = _skip_name(buffer, position, end)
                if position < 0:
                    return -1


@kernel
def has_escapes(buffer: Bytes, position: int, end: int) -> bool:
    """Whether a text between quotes contains a backslash."""
    for i in range(position, end):  # noqa: SIM110 - compiled.
        if load8(buffer, i) == _BACKSLASH:
            return True
    return False


@kernel
def unescape(buffer: Bytes, position: int, end: int, to: int) -> int:
    """Write the characters of a text between quotes from `to` on; return the position behind them.

    They take no more bytes than the text. Half a surrogate pair becomes U+FFFD.
    """
    while position < end:
        byte = load8(buffer, position)
        position += 1
        if byte != _BACKSLASH:
            store8(buffer, to, byte)
            to += 1
            continue
        byte = load8(buffer, position)
        position += 1
        if byte != 0x75:
            store8(buffer, to, _plain(byte))
            to += 1
            continue
        code = _hexadecimal(buffer, position)
        position += 4
        if 0xD800 <= code < 0xDC00 and position + 6 <= end and load8(buffer, position) == _BACKSLASH:
            low = _hexadecimal(buffer, position + 2) if load8(buffer, position + 1) == 0x75 else -1
            if 0xDC00 <= low < 0xE000:
                code = 0x10000 + ((code - 0xD800) << 10) + low - 0xDC00
                position += 6
        to = _write_utf8(_REPLACEMENT if 0xD800 <= code < 0xE000 else code, buffer, to)
    return to


@kernel
def _plain(byte: int) -> int:
    """What stands behind a backslash, as a character."""
    if byte == 0x62:
        return 0x08
    if byte == 0x66:
        return 0x0C
    if byte == 0x6E:
        return 0x0A
    if byte == 0x72:
        return 0x0D
    return 0x09 if byte == 0x74 else byte


@kernel
def _write_utf8(code: int, buffer: Bytes, to: int) -> int:
    if code < 0x80:
        store8(buffer, to, code)
        return to + 1
    more = 1 if code < 0x800 else 2 if code < 0x10000 else 3
    store8(buffer, to, (0xC0 if more == 1 else 0xE0 if more == 2 else 0xF0) | code >> (6 * more))
    for i in range(more):
        store8(buffer, to + 1 + i, 0x80 | (code >> (6 * (more - 1 - i))) & 0x3F)
    return to + 1 + more
