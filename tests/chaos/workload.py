"""Spans by number: every process makes the same ones, and knows how many rows of them fall where.

A batch is one request: spans of a model with a baseline, of one that learns its own, and spans with arrays, which are
two rows each. Values, ids and times follow from a seed and the batch's number alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otlp_samples import Scalar, array, make_request, make_span
from spans import identity

START_NS = 1_700_000_000 // 86_400 * 86_400 * 10**9
"""The midnight at which event time begins."""
BATCH_NS = 10**9
"""Event time that a batch adds."""
SCATTER_NS = 20 * 10**9
"""Event times of a batch lie within so much after its own: less than `out_of_orderness`."""
DURATION_NS = 2_000_000
COLOURS = np.array([list(b"red"), list(b"sky"), list(b"tan")], np.uint8)
PRICES, CLICKS = "prices", "clicks"
"""The model with a baseline, and the one that learns."""


@dataclass(frozen=True, slots=True)
class Group:
    """Spans of one kind in a batch.

    Attributes:
        model: Whose they are.
        spans: How many.
        rows_per_span: More than one makes arrays of the values.
    """

    model: str
    spans: int
    rows_per_span: int = 1


GROUPS = (Group(PRICES, 60), Group(CLICKS, 30), Group(PRICES, 10, 2))
SPANS = sum(group.spans for group in GROUPS)
"""Spans of a batch."""
ROWS = sum(group.spans * group.rows_per_span for group in GROUPS)
"""Rows of a batch."""

_SHARES = (0.5, 0.3, 0.2)
_IDS = {"trace": b"\x91" * 16, "span": b"\x92" * 8}
_TIMES = {"start": 0x1122334455667788, "end": 0x2211443366558877}
"""What stands in a template, to be found there."""
_NUMBERS = ("ml.feature.size", "ml.feature.delay", "ml.prediction.price")
_TEXT = "ml.feature.colour"

Bytes = npt.NDArray[np.uint8]


class _Template:
    """A group's part of a request as bytes, and where in it what changes stands."""

    def __init__(self, group: Group) -> None:
        each = _placeholder(group)
        data = make_request([each] * group.spans, identity(group.model, "1")).SerializeToString()
        one = each.SerializeToString()
        first = data.index(one)
        stride = data.index(one, first + 1) - first
        self._data, self._first, self._stride, self._spans = data, first, stride, group.spans
        self._at = {name: one.index(sought) for name, sought in _sought(group).items()}

    def filled(self, values: Mapping[str, Bytes]) -> bytes:
        """The bytes with these values, uint8 (spans, width) by name."""
        buffer = np.frombuffer(self._data, np.uint8).copy()
        spans = np.lib.stride_tricks.as_strided(
            buffer[self._first :], (self._spans, self._stride), (self._stride, 1), writeable=True
        )
        for name, column in values.items():
            at = self._at[name]
            spans[:, at : at + column.shape[1]] = column
        return buffer.tobytes()


class Workload:
    """The batches of one seed.

    Args:
        seed: Of everything.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._templates = [_Template(group) for group in GROUPS]

    def request(self, batch: int) -> bytes:
        """The OTLP request of a batch."""
        return b"".join(self._part(batch, number) for number in range(len(GROUPS)))

    def ends_ns(self, batch: int, group: int) -> npt.NDArray[np.int64]:
        """When the spans of a group end, int64 (spans,)."""
        return self._ends_ns(self._random(batch, group), batch, GROUPS[group].spans)

    def rows_by_window(self, batches: Iterable[int], length_ns: int) -> dict[tuple[str, int], int]:
        """Rows by model and start of the window of this length, by plain counting."""
        starts: dict[str, list[npt.NDArray[np.int64]]] = {group.model: [] for group in GROUPS}
        for batch in batches:
            for number, group in enumerate(GROUPS):
                of_group = self.ends_ns(batch, number) // length_ns * length_ns
                starts[group.model] += [of_group] * group.rows_per_span
        counted = {model: np.unique(np.concatenate(parts), return_counts=True) for model, parts in starts.items()}
        return {
            (model, int(start_ns)): int(rows)
            for model, both in counted.items()
            for start_ns, rows in zip(*both, strict=True)
        }

    def _random(self, batch: int, group: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, batch, group))

    def _ends_ns(self, random: np.random.Generator, batch: int, spans: int) -> npt.NDArray[np.int64]:
        return START_NS + batch * BATCH_NS + random.integers(0, SCATTER_NS, spans)

    def _part(self, batch: int, number: int) -> bytes:
        group, random = GROUPS[number], self._random(batch, number)
        ends_ns = self._ends_ns(random, batch, group.spans)
        ids = np.arange(group.spans, dtype=np.uint64) + np.uint64((batch * len(GROUPS) + number + 1) << 16)
        values = {
            "trace": np.hstack([_bytes(np.full(group.spans, self._seed + 1, np.uint64)), _bytes(ids)]),
            "span": _bytes(ids),
            "start": _bytes(ends_ns - DURATION_NS),
            "end": _bytes(ends_ns),
        }
        shift = 0.4 * np.sin((ends_ns - START_NS) / 3.6e12)
        for element in range(group.rows_per_span):
            numbers = (
                random.normal(size=group.spans) + shift,
                random.exponential(size=group.spans) ** 3,
                random.random(group.spans),
            )
            values |= {f"{name}/{element}": _bytes(column) for name, column in zip(_NUMBERS, numbers, strict=True)}
            values[f"{_TEXT}/{element}"] = COLOURS[random.choice(len(COLOURS), group.spans, p=_SHARES)]
        return self._templates[number].filled(values)


def reference(rows: int = 4_000) -> pl.DataFrame:
    """Rows for the baseline of `PRICES`, named as in its spans without their prefix."""
    random = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "size": random.normal(size=rows),
            "delay": random.exponential(size=rows) ** 3,
            "price": random.random(rows),
            "colour": random.choice(["red", "sky", "tan"], rows, p=_SHARES),
        }
    )


def _bytes(values: npt.NDArray[np.generic]) -> Bytes:
    """uint8 (n, 8): each number's bytes, little-endian as on the wire."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 8)


def _number(name: int, element: int) -> float:
    return 0.1 + name / 7 + element / 91


def _placeholder(group: Group) -> Span:
    elements = range(group.rows_per_span)
    attributes: dict[str, Scalar] = {}
    for place, name in enumerate(_NUMBERS):
        numbers = [_number(place, element) for element in elements]
        attributes[name] = numbers[0] if len(numbers) == 1 else array(*numbers)
    texts = [f"#{element:02}" for element in elements]
    attributes[_TEXT] = texts[0] if len(texts) == 1 else array(*texts)
    return make_span(
        attributes,
        trace_id=_IDS["trace"],
        span_id=_IDS["span"],
        start_time_unix_nano=_TIMES["start"],
        end_time_unix_nano=_TIMES["end"],
    )


def _sought(group: Group) -> dict[str, bytes]:
    """The bytes by which a span's fields are found in it."""
    times = {name: time.to_bytes(8, "little") for name, time in _TIMES.items()}
    numbers = {
        f"{name}/{element}": np.float64(_number(place, element)).tobytes()
        for place, name in enumerate(_NUMBERS)
        for element in range(group.rows_per_span)
    }
    texts = {f"{_TEXT}/{element}": f"#{element:02}".encode() for element in range(group.rows_per_span)}
    return _IDS | times | numbers | texts
