"""`Decoder`: bytes of OTLP requests into `Predictions`."""

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from driftmeter.columnar.batches import CELLS_MAX, BatchBuilder, Outcome
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
    REQUESTS,
    SCOPES,
    SEED,
    SPANS,
    TOO_MANY_ATTRIBUTES,
    TOO_MANY_ELEMENTS,
    Flat,
    Ints,
    Source,
    make_flat,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.models import HasBaseline, ModelLimit
from driftmeter.columnar.naming import compile_naming
from driftmeter.columnar.request import decode_requests
from driftmeter.columnar.sample import sample_request
from driftmeter.columnar.schema import LOGS, TRACES, build_table
from driftmeter.errors import MalformedError
from driftmeter.model.bundle import Tree
from driftmeter.model.columns import Kind
from driftmeter.model.predictions import FIXED_FIELDS, ModelKey, Predictions
from driftmeter.model.request import Signal
from driftmeter.model.stored import Stored

_INT64_MAX = 2**63 - 1
_KEPT_BYTES = 64 * 2**20
_KEPT_SLOTS = 2**16  # They are cleared for each request.
_CELLS_FREE = 2**20
"""Cells that the tables of several requests decoded at once may have, beyond one for each of their bytes: requests
whose spans have different attributes are cheaper to decode by themselves."""
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
    """What requests held, in spans (or log records). `accepted + ignored + sum of rejected == received`, always.

    Attributes:
        batches: One per model, version and stage, in order of first appearance; rows in the request's order. A span
            with arrays has one row per element, which share its `span_key` and are numbered by `row_index`.
        batch_spans: Number of spans in each batch.
        without_identity: Number of spans in each batch with neither valid ids nor a prediction id of their own: they
            are known by their content alone.
        received: Spans in the request.
        ignored: Spans without a model name, or without any feature, prediction or label, or whose arrays are all empty.
        rejected: Spans by reason: `future` (later than the given time, or not before the year 2262), `no_timestamp`,
            `too_many_attributes`, `string_too_long` (a model's name, version or stage), `array_lengths` (arrays of
            different lengths), `too_many_elements` (an array of more than 65,535, or a request of some 8 million),
            `too_many_models` (more than 1,000 in one request, or than are taken at all), `too_sparse` (the request's
            tables would hold more than 16 million cells).
        messages: The reasons in words, for the sender.
        dropped_values: Values not kept, by reason: `too_many_columns`, `name_too_long` (a column's name over 1,024
            bytes), `id_too_long` (a prediction id over 256 bytes), `string_too_long` (a category), `invalid_json`,
            `beside_embedding` (an element of an array in a span that has an embedding).
        limited: Spans were rejected, or columns dropped that might be kept with less in a request.
    """

    batches: tuple[Predictions, ...]
    batch_spans: tuple[int, ...]
    without_identity: tuple[int, ...]
    received: int
    ignored: int
    rejected: Mapping[str, int]
    messages: tuple[str, ...]
    dropped_values: Mapping[str, int]
    limited: bool

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
        self._kinds, self._models = kinds, ModelLimit(attributes.max_models, has_baseline)
        self._builder = BatchBuilder(attributes, kinds, self._models)
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
        return self._decode([body], signal, not_after_ns)[0]

    def decode_many(
        self, bodies: Sequence[bytes], signal: Signal = Signal.TRACES, *, not_after_ns: int | None = None
    ) -> Decoded:
        """Decode several requests at once, for little more than a single one of their size costs.

        The result is what decoding each by itself and joining the batches of each model gives, unless it is `limited`:
        requests have limits, and these hold for all of them together here. A result that is limited has taught nothing
        about columns; decode each by itself then. As `decode` else; no bodies are an empty request.

        Args:
            bodies: One request each, less than 1 GiB together.
            signal: What all of them are.
            not_after_ns: As in `decode`.

        Raises:
            MalformedError: One of them is not such a message.
        """
        decoded, learned = self._decode(bodies, signal, not_after_ns)
        if decoded.limited:
            for key, fields in learned:
                self._kinds.unlearn((key.model, key.version), fields)
        return decoded

    def learn(self, batch: Predictions) -> None:
        """Know of a batch what decoding it has taught: its model, and what its columns hold."""
        kinds: dict[str, Kind] = {}
        for column in batch.rows.schema.names[len(FIXED_FIELDS) :]:
            values = batch.rows.column(column)
            if pa.types.is_dictionary(values.type):
                kinds[column] = Kind.CATEGORICAL
            elif values.null_count < len(values):
                kinds[column] = Kind.NUMERIC
        self._kinds.learn((batch.key.model, batch.key.version), kinds)
        self._models.take(batch.key)

    def forget(self, key: ModelKey) -> None:
        """Make room for another model in place of this one. What its columns hold is still remembered for a while."""
        self._models.forget(key)

    def state(self) -> dict[str, Any]:
        """Everything learned, as plain dicts, lists and texts."""
        return {"kinds": self._kinds.state(), "models": self._models.state()}

    def restore(self, tree: Tree) -> None:
        """Go on from a state.

        Raises:
            DamagedError: It is none; nothing is certain about what was learned then.
        """
        stored = Stored(tree)
        self._kinds.restore(stored.tree("kinds"))
        self._models.restore(stored.tree("models"))

    def _decode(
        self, bodies: Sequence[bytes], signal: Signal, not_after_ns: int | None
    ) -> tuple[Decoded, list[tuple[ModelKey, list[str]]]]:
        ends = np.array([*accumulate(map(len, bodies))], np.int64)
        size = sum(map(len, bodies))
        request, buffer = self._joined(bodies, size)
        flat = self._parse(buffer, ends, signal, _INT64_MAX if not_after_ns is None else not_after_ns)
        if self._has_json:
            read_numbers(buffer, flat)
        cells_max = CELLS_MAX if len(bodies) == 1 else min(CELLS_MAX, _CELLS_FREE + size)
        outcome = self._builder.build(Source(request, buffer, flat), cells_max)
        if sum(array.nbytes for array in flat) <= _KEPT_BYTES and flat.slots.size <= _KEPT_SLOTS:
            self._local.flat = flat
        return _decoded(flat, outcome, _NOUNS[signal][1]), outcome.learned

    def _joined(self, bodies: Sequence[bytes], size: int) -> tuple[bytes | memoryview, Bytes]:
        """All requests; where there are JSON texts, with room behind them for what is written out of them."""
        if not self._has_json:
            request = bodies[0] if len(bodies) == 1 else b"".join(bodies)
            return request, np.frombuffer(request or b"\0", np.uint8)
        room = np.empty(room_for_json(size), np.uint8)
        start = 0
        for body in bodies:
            room[start : start + len(body)] = np.frombuffer(body, np.uint8)
            start += len(body)
        room.flags.writeable = False  # The type that kernels are compiled for.
        return room.data, room

    def _parse(self, buffer: Bytes, ends: Ints, signal: Signal, not_after_ns: int) -> Flat:
        """Flat arrays of requests, made larger until they fit."""
        size = int(ends[-1]) if ends.size else 0
        flat: Flat = self._local.__dict__.pop("flat", None) or make_flat(4_096, 256, 16, 1_024)
        if flat.attributes.shape[0] < size // 32:
            flat = make_flat(size // 32, size // 256 + 256, flat.scopes.shape[0], flat.slots.size // 2)
        root = _ROOTS[signal]
        while True:
            flat.state[SEED] = self._seed
            if decode_requests(buffer, ends, root, not_after_ns, self._naming, self._table, flat) >= 0:
                return flat
            if flat.state[ERROR_REASON] != FULL:
                raise MalformedError(_fault(flat, ends, _NOUNS[signal][0]))
            flat = _larger(flat)


def _fault(flat: Flat, ends: Ints, noun: str) -> str:
    """What is wrong with which request."""
    offset, reason = int(flat.state[ERROR_OFFSET]), int(flat.state[ERROR_REASON])
    # A fault at the very end of a request is its own, not that of the next.
    number = min(int(flat.state[REQUESTS]), ends.size - 1)
    which = f"request {number + 1} of {ends.size} is " if ends.size > 1 else ""
    start = int(ends[number - 1]) if number else 0
    return f"{which}not an OTLP {noun} request: at byte {offset - start} {REASONS[reason]}"


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
    rejected: dict[str, int] = {}
    if state[RECEIVED] != state[IGNORED] + sum(outcome.batch_spans):
        counts = {reason: state[counter] for reason, counter in _COUNTERS.items()} | dict(outcome.rejected)
        rejected = {reason: count for reason, count in counts.items() if count}
    return Decoded(
        batches=tuple(outcome.batches),
        batch_spans=tuple(outcome.batch_spans),
        without_identity=tuple(outcome.without_identity),
        received=state[RECEIVED],
        ignored=state[IGNORED],
        rejected=rejected,
        messages=tuple(f"{count} {noun} {_MESSAGES[reason]}" for reason, count in rejected.items()),
        dropped_values=outcome.dropped_values,
        limited=outcome.limited or bool(rejected),
    )
