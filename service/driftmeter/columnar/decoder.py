"""`Decoder`: bytes of an OTLP request into `Predictions`."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from driftmeter.columnar.batches import BatchBuilder, Outcome
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.json_members import read_numbers, room_for_json
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.layout import (
    ARRAY_LENGTHS,
    ATTRIBUTES,
    ERROR_OFFSET,
    ERROR_REASON,
    FULL,
    FUTURE,
    IGNORED,
    KEYS,
    NAMES_TOO_LONG,
    NO_TIMESTAMP,
    REASONS,
    RECEIVED,
    SCOPES,
    SEED,
    SPANS,
    TOO_MANY_ATTRIBUTES,
    TOO_MANY_ELEMENTS,
    Flat,
    make_flat,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.models import HasBaseline, ModelLimit
from driftmeter.columnar.naming import compile_naming
from driftmeter.columnar.request import decode_request
from driftmeter.columnar.sample import sample_request
from driftmeter.columnar.schema import LOGS, TRACES, build_table
from driftmeter.errors import MalformedError
from driftmeter.model.predictions import Predictions
from driftmeter.model.request import Signal

_INT64_MAX = 2**63 - 1
_KEPT_BYTES = 64 * 2**20
_ROOTS = {Signal.TRACES: TRACES, Signal.LOGS: LOGS}
_NOUNS = {Signal.TRACES: ("trace", "spans"), Signal.LOGS: ("log", "log records")}
_COUNTERS = {
    "future": FUTURE,
    "no_timestamp": NO_TIMESTAMP,
    "too_many_attributes": TOO_MANY_ATTRIBUTES,
    "string_too_long": NAMES_TOO_LONG,
    "array_lengths": ARRAY_LENGTHS,
    "too_many_elements": TOO_MANY_ELEMENTS,
}
_MESSAGES = {
    "future": "are later than the clock allows",
    "no_timestamp": "have no time",
    "too_many_attributes": "have more attributes than attributes.max_attributes",
    "string_too_long": "have a model, version or stage longer than attributes.max_text_bytes",
    "array_lengths": "have arrays of different lengths: give every array one element per row",
    "too_many_elements": "have arrays of more than 65,535 elements, or too many in one request: send less at a time",
    "too_many_models": "belong to more models, versions and stages than are taken (attributes.max_models)",
    "too_sparse": "would make tables of mostly missing values: send spans with different attributes apart",
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a request held, in spans (or log records). `accepted + ignored + sum of rejected == received`, always.

    Attributes:
        batches: One per model, version and stage, in order of first appearance; rows in the request's order. A span
            with arrays has one row per element, which share its `span_key` and are numbered by `row_index`.
        batch_spans: Number of spans in each batch.
        received: Spans in the request.
        ignored: Spans without a model name, or without any feature, prediction or label, or whose arrays are all empty.
        rejected: Spans by reason: `future` (later than the given time, or not before the year 2262), `no_timestamp`,
            `too_many_attributes`, `string_too_long` (a model's name, version or stage), `array_lengths` (arrays of
            different lengths), `too_many_elements` (an array of more than 65,535, or a request of some 8 million),
            `too_many_models` (more than 1,000 in one request, or than are taken at all), `too_sparse` (the request's
            tables would hold more than 16 million cells).
        messages: The reasons in words, for the sender.
        dropped_values: Values not kept, by reason: `too_many_columns`, `name_too_long` (a column's name over 1,024
            bytes), `id_too_long` (a prediction id over 256 bytes), `string_too_long` (a category), `invalid_json`.
    """

    batches: tuple[Predictions, ...]
    batch_spans: tuple[int, ...]
    received: int
    ignored: int
    rejected: Mapping[str, int]
    messages: tuple[str, ...]
    dropped_values: Mapping[str, int]

    @property
    def accepted(self) -> int:
        """Spans in the batches."""
        return sum(self.batch_spans)


class Decoder:
    """Decodes requests; may be used from several threads, and does not hold the GIL while it parses.

    Args:
        attributes: Names of the attributes that mean something.
        kinds: Kinds of columns, shared with whoever declares them.
        has_baseline: Whether there is a baseline for a model: such models have a limit of their own.
    """

    def __init__(
        self, attributes: AttributesConfig, kinds: KindBook, has_baseline: HasBaseline = lambda _: False
    ) -> None:
        self._naming = compile_naming(attributes)
        self._has_json = self._naming.targets.size > 0
        self._table = build_table()
        self._builder = BatchBuilder(attributes, kinds, ModelLimit(attributes.max_models, has_baseline))
        self._attributes = attributes
        self._seed = secrets.randbits(62)
        self._local = threading.local()

    def warm_up(self) -> None:
        """Compile or load all compiled code: takes some 40 s once, then a fraction of a second. Learns nothing."""
        aside = Decoder(self._attributes, KindBook())
        for signal in Signal:
            aside.decode(sample_request(self._attributes, signal), signal)

    def decode(self, body: bytes, signal: Signal = Signal.TRACES, *, not_after_ns: int | None = None) -> Decoded:
        """Decode one request.

        Args:
            body: Its bytes: an ExportTraceServiceRequest or ExportLogsServiceRequest.
            signal: Which of these.
            not_after_ns: What is later, in ns since the epoch, is rejected as `future`; None accepts all.

        Raises:
            MalformedError: The bytes are not such a message; exactly when protobuf's own parser refuses them.
        """
        size = len(body)
        buffer = self._buffer(body)
        flat = self._parse(buffer, size, signal, _INT64_MAX if not_after_ns is None else not_after_ns)
        if self._has_json:
            read_numbers(buffer, flat)
        outcome = self._builder.build(buffer.data if self._has_json else body, buffer, flat)
        if sum(array.nbytes for array in flat) <= _KEPT_BYTES:
            self._local.flat = flat
        return _decoded(flat, outcome, _NOUNS[signal][1])

    def _buffer(self, body: bytes) -> Bytes:
        """The request; where there are JSON texts, a copy with room behind it for what is written out of them."""
        if not self._has_json:
            return np.frombuffer(body or b"\0", np.uint8)
        room = np.empty(room_for_json(len(body)), np.uint8)
        room[: len(body)] = np.frombuffer(body, np.uint8)
        room.flags.writeable = False  # The type that kernels are compiled for.
        return room

    def _parse(self, buffer: Bytes, size: int, signal: Signal, not_after_ns: int) -> Flat:
        """Flat arrays of a request, made larger until it fits."""
        flat: Flat = self._local.__dict__.pop("flat", None) or make_flat(4_096, 256, 16, 1_024)
        if flat.attributes.shape[0] < size // 32:
            flat = make_flat(size // 32, size // 256 + 256, flat.scopes.shape[0], flat.slots.size // 2)
        root = _ROOTS[signal]
        while True:
            flat.state[SEED] = self._seed
            if decode_request(buffer, size, root, not_after_ns, self._naming, self._table, flat) >= 0:
                return flat
            if flat.state[ERROR_REASON] != FULL:
                offset, reason = int(flat.state[ERROR_OFFSET]), int(flat.state[ERROR_REASON])
                noun = _NOUNS[signal][0]
                raise MalformedError(f"not an OTLP {noun} request: at byte {offset} {REASONS[reason]}")
            flat = _larger(flat)


def _larger(flat: Flat) -> Flat:
    """Twice the room where it was used up."""
    rooms = (
        (flat.attributes.shape[0], int(flat.state[ATTRIBUTES])),
        (flat.spans.shape[0], int(flat.state[SPANS])),
        (flat.scopes.shape[0], int(flat.state[SCOPES])),
        (flat.slots.size // 2, int(flat.state[KEYS])),
    )
    return make_flat(*(2 * room if used >= room else room for room, used in rooms))


def _decoded(flat: Flat, outcome: Outcome, noun: str) -> Decoded:
    state: list[int] = flat.state.tolist()
    counts = {reason: state[counter] for reason, counter in _COUNTERS.items()} | dict(outcome.rejected)
    rejected = {reason: count for reason, count in counts.items() if count}
    return Decoded(
        batches=outcome.batches,
        batch_spans=outcome.batch_spans,
        received=state[RECEIVED],
        ignored=state[IGNORED],
        rejected=rejected,
        messages=tuple(f"{count} {noun} {_MESSAGES[reason]}" for reason, count in rejected.items()),
        dropped_values=outcome.dropped_values,
    )
