"""Requests by the million without building any: a few are built once, and ids, times and values put into them anew."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from driftmeter.clock import SystemClock
from otlp_samples import Scalar, make_request, make_span

PANE_NS = 300 * 10**9
"""The shortest window that the service is run with."""
SPANS_PER_PANE = 1_000_000
"""Spans with event times in one pane, unless told otherwise: 3,333 predictions a second."""
CATEGORIES = ("AA", "United Airlines", "EWR", "Los Angeles", "monday")
OUTPUT = "late"

_PAST_NS = 12 * 3600 * 10**9  # Event times move faster than the clock, and must not get ahead of it.
_ID_BYTES, _DURATION_NS = 24, 5_000_000
_CHANGED_BYTES = 3
"""Low bytes of each double that change: no two rows are alike then, and no value leaves its bin but at an edge."""

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shape:
    """What requests look like.

    Attributes:
        spans: Spans of a request.
        numbers: Attributes of a span that are doubles, beside one prediction.
        texts: Attributes that are strings, beside the model's name and version.
        models: Models that the spans of a request take turns in.
    """

    spans: int = 1_000
    numbers: int = 16
    texts: int = 4
    models: int = 1

    def features(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the features that are numbers, and of those that are texts."""
        return tuple(f"x{i}" for i in range(self.numbers)), tuple(f"c{i}" for i in range(self.texts))

    def model(self, number: int) -> str:
        """Name of one of the models."""
        return "flights" if self.models == 1 else f"flights-{number % self.models}"


USUAL = Shape()
"""23 attributes: 16 doubles, 4 strings, the model's name and version, one prediction."""


class _Template:
    """One request as bytes, and where in it what changes stands."""

    def __init__(self, shape: Shape, random_: random.Random) -> None:
        spans = [_span(shape, number, random_) for number in range(shape.spans)]
        data = make_request(spans, resource={"service.name": "scorer"}).SerializeToString()
        places = np.array(list(_places(data, spans)), dtype=np.int64)
        self.buffer: Bytes = np.frombuffer(data, np.uint8).copy()
        self.trace_ids = _bytes_from(places[:, 0], 16)
        self.span_ids = _bytes_from(places[:, 1], 8)
        self.starts = _bytes_from(places[:, 2], 8)
        self.ends = _bytes_from(places[:, 3], 8)
        self.doubles = _bytes_from(places[:, 4:].ravel(), _CHANGED_BYTES)


class Requests:
    """Requests of one shape, each span with ids of its own, event times that move on, and values of its own.

    Args:
        shape: What they look like.
        templates: Requests built; texts and the high bytes of numbers come again after so many.
        spans_per_pane: Spans until event time has moved on by the length of the shortest window.
        seed: Of all that is random.
    """

    def __init__(self, shape: Shape, templates: int, spans_per_pane: int = SPANS_PER_PANE, seed: int = 1) -> None:
        random_ = random.Random(seed)  # noqa: S311 - repeatable.
        self.shape = shape
        self._templates = [_Template(shape, random_) for _ in range(templates)]
        self._random = np.random.Generator(np.random.SFC64())  # Not seeded: ids are never those of an earlier run.
        self._step_ns = PANE_NS // spans_per_pane
        self._next_ns = (SystemClock().now_ns() - _PAST_NS) // PANE_NS * PANE_NS
        self._steps = np.arange(shape.spans, dtype=np.int64) * self._step_ns
        self._made = 0

    def make(self) -> bytes:
        """The next request."""
        template = self._templates[self._made % len(self._templates)]
        self._made += 1
        buffer, spans = template.buffer, self.shape.spans
        ids = self._bytes(spans * _ID_BYTES).reshape(spans, _ID_BYTES)
        ends = self._next_ns + self._steps
        self._next_ns += spans * self._step_ns
        buffer[template.trace_ids] = ids[:, :16]
        buffer[template.span_ids] = ids[:, 16:]
        buffer[template.starts] = (ends - _DURATION_NS).view(np.uint8).reshape(spans, 8)
        buffer[template.ends] = ends.view(np.uint8).reshape(spans, 8)
        buffer[template.doubles] = self._bytes(template.doubles.size).reshape(template.doubles.shape)
        return buffer.tobytes()

    def skip_panes(self, panes: int) -> None:
        """Move event time on to the beginning of a later pane."""
        self._next_ns = (self._next_ns // PANE_NS + panes) * PANE_NS

    def _bytes(self, count: int) -> Bytes:
        return np.frombuffer(self._random.bytes(count), np.uint8)


def _span(shape: Shape, number: int, random_: random.Random) -> Span:
    numbers, texts = shape.features()
    attributes: dict[str, Scalar] = {"ml.model.name": shape.model(number), "ml.model.version": "v3"}
    attributes |= {f"ml.feature.{name}": random_.gauss(0.0, 1.0) for name in numbers}
    attributes |= {f"ml.feature.{name}": random_.choice(CATEGORIES) for name in texts}
    attributes[f"ml.prediction.{OUTPUT}"] = random_.random()
    return make_span(
        attributes,
        trace_id=random_.randbytes(16),
        span_id=random_.randbytes(8),
        start_time_unix_nano=random_.getrandbits(63) | 1 << 62,
        end_time_unix_nano=random_.getrandbits(63) | 1 << 62,
    )


def _places(data: bytes, spans: list[Span]) -> Iterator[list[int]]:
    """Of each span, where its ids, its times and its doubles stand: found by their values, all of them random."""
    at = 0
    for span in spans:
        sought = [
            span.trace_id,
            span.span_id,
            struct.pack("<Q", span.start_time_unix_nano),
            struct.pack("<Q", span.end_time_unix_nano),
            *(
                struct.pack("<d", each.value.double_value)
                for each in span.attributes
                if each.value.HasField("double_value")
            ),
        ]
        found: list[int] = []
        for each in sought:
            at = data.index(each, at)
            found.append(at)
        yield found


def _bytes_from(places: Offsets, count: int) -> Offsets:
    """int64 (places, count): the place of each of so many bytes."""
    return places[:, None] + np.arange(count)
