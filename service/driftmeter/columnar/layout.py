"""Shapes of the flat int64 arrays between the wire decoder and the columns.

All arrays are C-contiguous int64, one record per row, so that a record lies in one or two cache lines and kernels
take few arguments. The names below are positions in a record.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftmeter.columnar.memory import Bytes

Ints = npt.NDArray[np.int64]

# What an attribute's value is.
EMPTY, STRING, BOOL, INT, DOUBLE, BYTES, NESTED, REFERENCE, ARRAY, NUMBER = range(10)
"""No value set; scalars; bytes; a map, or an array where none is read; an index into a string table, which OTLP has
not; an array; a number of a JSON text that is still to be read."""

# Attribute: 4 words.
ATTRIBUTE_FIELD, ATTRIBUTE_TYPE, ATTRIBUTE_VALUE, ATTRIBUTE_LENGTH = range(4)
ATTRIBUTE_WORDS = 4
"""Field number; type; the number's bits, or the offset of the text's first byte; the text's length. For NESTED
offset and length are those of the whole KeyValue message, or of the AnyValue inside an array. For ARRAY they are the
row of its first element, -1 when there are too many to keep, and the number of elements."""

ELEMENT, TOO_MANY_COLUMNS, NAME_TOO_LONG, INVALID_JSON = -1, -2, -3, -4
"""Instead of a field number: an element of an array, which stands in the rows behind its array; or why a value is
dropped and counted."""

ELEMENTS_MAX = 65_535
"""Most elements of an array: `row_index` has 16 bits."""

ATTRIBUTES_MAX = 2**23
"""Most rows of attributes up to which arrays are kept, 256 MiB of them. An element may be two bytes on the wire and
takes 32 here; 64 MiB of doubles in arrays, which are 11 bytes each, still fit."""

# Span or log record: 19 words.
(
    SPAN_START,
    SPAN_END,
    SPAN_TRACE_ID,
    SPAN_ID,
    SPAN_ERROR,
    SPAN_DROPPED,
    SPAN_FIRST,
    SPAN_STOP,
    SPAN_SCOPE,
    SPAN_SPECIAL,
) = range(10)
SPAN_KEY, SPAN_THRESHOLD, SPAN_GROUP, SPAN_ROWS, SPAN_BEARING, SPAN_ANONYMOUS = range(13, 19)
SPAN_WORDS = 19
"""Times in nanoseconds; offsets of the ids, -1 when not valid; 1 when the status is ERROR; dropped attributes; its
attributes are rows [FIRST, STOP); row of its scope; four words from SPECIAL on: the attribute that gives model,
version, stage and prediction id at any level, -1 for none; 64-bit identity; sampling threshold; its group; rows of its
table: 1, or the length of its arrays; what it says something about, bits of `KEY_BEARING`; 1 when it has neither ids
nor a prediction id."""

# Scope with its resource; a resource before its scopes, whose own words are empty then.
SCOPE_RESOURCE_FIRST, SCOPE_RESOURCE_STOP, SCOPE_FIRST, SCOPE_STOP, SCOPE_SPECIAL = range(5)
SCOPE_BEARING, SCOPE_HAS_ARRAYS, SCOPE_ARRAYS, SCOPE_ELEMENTS, SCOPE_SQUARES, SCOPE_OVERLONG, SCOPE_HASH = range(8, 15)
SCOPE_WORDS = 15
"""Attributes of the resource and of the scope, each key once; four specials as for spans; what they say something
about, bits of `KEY_BEARING`; 1 when an array is among them; of the arrays that the scope does not overwrite: how many
they are, the sums of their lengths and of the squares of these, and how many are not kept because they are too long;
hash of the bytes of both.

Numbers are equal when their squares add up to what equal ones would: so a span's arrays are compared with those of its
owners without looking at each of these again."""

# Fields that are not columns.
MODEL, VERSION, STAGE, PREDICTION_ID = range(4)
SPECIALS = 4
"""Fields from SPECIALS on are columns, numbered in order of first appearance."""

COLUMN, NOTHING, JSON = -1, -2, -10
"""What `classify` calls a key of a column that has no number yet; a key that means nothing; `JSON - n` is the key of a
JSON text, of which row n of `Naming.targets` says more."""

# Key. The words from `KEY_OF_FIELD` on are indexed by field, the others by key: `KEY_LAST` is the newest attribute of a
# field; the last two are its attribute in the resource and in the scope, to be believed when that is what stands there.
KEY_HASH, KEY_OFFSET, KEY_LENGTH, KEY_FIELD, KEY_BEARING = range(5)
KEY_OF_FIELD, KEY_LAST, KEY_RESOURCE_ROW, KEY_SCOPE_ROW = range(5, 9)
KEY_WORDS = 9

BEARS_FEATURE, BEARS_PREDICTION, BEARS_LABEL = 1, 2, 4
"""Bits of `KEY_BEARING`: what an entry with this key says something about."""

KEY_ROOM_BYTES = 4 * 2**20
"""Room for the names of columns that come from JSON texts, in one request."""

# Position: the key that the newest span had as its n-th attribute.
POSITIONS = 256

# State: counters and results of a run.
(
    ERROR_OFFSET,
    ERROR_REASON,
    ATTRIBUTES,
    SPANS,
    SCOPES,
    KEYS,
    FIELDS,
    UNUSUAL,
    RECEIVED,
    IGNORED,
    NO_TIMESTAMP,
    FUTURE,
    TOO_MANY_ATTRIBUTES,
    NAMES_TOO_LONG,
    ARRAY_LENGTHS,
    TOO_MANY_ELEMENTS,
    OUT_KEY_OFFSET,
    OUT_KEY_LENGTH,
    OUT_TYPE,
    OUT_VALUE,
    OUT_LENGTH,
    EXTRAS,
    MEMBERS,
    NAME_ROOM,
    TEXT_ROOM,
    ATTRIBUTES_LIMIT,
    TEXT_LIMIT,
    SEED,
    HASH,
    NAMES_FULL,
    VISITED,
    REQUESTS,
) = range(32)
STATE_WORDS = 32
"""UNUSUAL is the number of entries kept that have arrays or JSON texts; EXTRAS is 1 when the current entry has some of
its own, MEMBERS how many members these texts have; NAME_ROOM and TEXT_ROOM are the first free bytes behind the requests
for names of columns and for unescaped texts, and NAMES_FULL is 1 when a name found no room; the limits are most
attributes of an entry and most bytes of a text; HASH is that of the owner being read; VISITED counts looks at
attributes of owners, which must not grow as owners times entries; REQUESTS is how many were read to their end."""

# Why a request is refused. 0 is reserved for "arrays too small".
FULL, TRUNCATED, VARINT, TAG, GROUP, UTF8, DEPTH = range(7)
REASONS = {
    TRUNCATED: "a length reaches beyond the end of its message",
    VARINT: "a number has more than ten bytes or its message ends inside it",
    TAG: "a field has no valid number or wire type",
    GROUP: "a group does not end where it must",
    UTF8: "a text is not UTF-8",
    DEPTH: "messages are nested deeper than 100 levels",
}


class Flat(NamedTuple):
    """Room for one decoded request; see the names above for what a row holds."""

    attributes: Ints
    spans: Ints
    resource: Ints
    scopes: Ints
    keys: Ints
    slots: npt.NDArray[np.int32]
    positions: Ints
    stack: Ints
    state: Ints


class Source(NamedTuple):
    """Requests and what was found in them; `request` and `buffer` are the same bytes."""

    request: bytes | memoryview
    buffer: Bytes
    flat: Flat


def make_flat(attributes: int, spans: int, scopes: int, keys: int) -> Flat:
    """Room for the given numbers of records; `keys` is a power of two."""
    return Flat(
        attributes=np.empty((attributes, ATTRIBUTE_WORDS), np.int64),
        spans=np.empty((spans, SPAN_WORDS), np.int64),
        resource=np.empty(SCOPE_WORDS, np.int64),
        scopes=np.empty((scopes, SCOPE_WORDS), np.int64),
        keys=np.empty((keys + SPECIALS, KEY_WORDS), np.int64),
        slots=np.empty(2 * keys, np.int32),
        positions=np.empty((POSITIONS, 4), np.int64),
        stack=np.empty((101, 2), np.int64),
        state=np.empty(STATE_WORDS, np.int64),
    )
