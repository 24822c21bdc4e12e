"""`Decoder`: bytes of an OTLP trace request into `Predictions`."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from driftmeter.columnar.batches import BatchBuilder, Outcome
from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.layout import (
    ATTRIBUTES,
    ERROR_OFFSET,
    ERROR_REASON,
    FULL,
    FUTURE,
    IDENTITY_TOO_LONG,
    IGNORED,
    KEYS,
    NO_TIMESTAMP,
    REASONS,
    RECEIVED,
    SCOPES,
    SEED,
    SPANS,
    Flat,
    make_flat,
)
from driftmeter.columnar.memory import Bytes
from driftmeter.columnar.naming import compile_naming
from driftmeter.columnar.request import decode_request
from driftmeter.columnar.sample import sample_request
from driftmeter.columnar.schema import build_table
from driftmeter.errors import MalformedError
from driftmeter.model.predictions import Predictions

_INT64_MAX = 2**63 - 1
_KEPT_BYTES = 64 * 2**20
_MESSAGES = {
    "future": "end later than the clock allows",
    "no_timestamp": "have no end time",
    "identity_too_long": "have a model, version or stage of more than 256 bytes",
    "too_many_models": "belong to more models, versions and stages than one request may hold",
    "too_sparse": "would make tables of mostly missing values: send spans with different attributes apart",
}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a request held. `sum of rows + ignored + sum of rejected == received`, always.

    Attributes:
        batches: One per model, version and stage, in order of first appearance; rows in the request's order.
        received: Spans in the request.
        ignored: Spans without a model name, or without any feature, prediction or label.
        rejected: Spans by reason: `future` (ends after the given time, or not before the year 2262), `no_timestamp`,
            `identity_too_long` (a model, version or stage over 256 bytes), `too_many_models` (more than 1,000 in one
            request), `too_sparse` (the request's tables would hold more than 16 million cells).
        messages: The reasons in words, for the sender.
        dropped_values: Values not kept, by reason: `too_many_columns`, `name_too_long` (a column's name over 1,024
            bytes), `id_too_long` (a prediction id over 256 bytes), `text_too_long` (a category over 256 bytes).
    """

    batches: tuple[Predictions, ...]
    received: int
    ignored: int
    rejected: Mapping[str, int]
    messages: tuple[str, ...]
    dropped_values: Mapping[str, int]


class Decoder:
    """Decodes requests; may be used from several threads, and does not hold the GIL while it parses.

    Args:
        attributes: Names of the attributes that mean something.
        kinds: Kinds of columns, shared with whoever declares them.
    """

    def __init__(self, attributes: AttributesConfig, kinds: KindBook) -> None:
        self._naming = compile_naming(attributes)
        self._table = build_table()
        self._builder = BatchBuilder(attributes, kinds)
        self._attributes = attributes
        self._seed = secrets.randbits(62)
        self._local = threading.local()

    def warm_up(self) -> None:
        """Compile or load all compiled code: takes some 30 s once, then a fraction of a second. Learns nothing."""
        aside = Decoder(self._attributes, KindBook())
        aside.decode(sample_request(self._attributes))

    def decode(self, request: bytes, *, not_after_ns: int | None = None) -> Decoded:
        """Decode one ExportTraceServiceRequest.

        Args:
            request: Its bytes.
            not_after_ns: Spans that end later, in ns since the epoch, are rejected as `future`; None accepts all.

        Raises:
            MalformedError: The bytes are not such a message; exactly when protobuf's own parser refuses them.
        """
        buffer = np.frombuffer(request, np.uint8) if request else np.zeros(1, np.uint8)
        flat = self._parse(buffer, len(request), _INT64_MAX if not_after_ns is None else not_after_ns)
        outcome = self._builder.build(request, buffer, flat)
        if sum(array.nbytes for array in flat) <= _KEPT_BYTES:
            self._local.flat = flat
        return _decoded(flat, outcome)

    def _parse(self, buffer: Bytes, size: int, not_after_ns: int) -> Flat:
        """Flat arrays of a request, made larger until it fits."""
        flat: Flat = self._local.__dict__.pop("flat", None) or make_flat(4_096, 256, 16, 1_024)
        if flat.attributes.shape[0] < size // 32:
            flat = make_flat(size // 32, size // 256 + 256, flat.scopes.shape[0], flat.slots.size // 2)
        flat.state[SEED] = self._seed
        while decode_request(buffer, size, not_after_ns, self._naming, self._table, flat) < 0:
            if flat.state[ERROR_REASON] != FULL:
                offset, reason = int(flat.state[ERROR_OFFSET]), int(flat.state[ERROR_REASON])
                raise MalformedError(f"not an OTLP trace request: at byte {offset} {REASONS[reason]}")
            flat = _larger(flat)
            flat.state[SEED] = self._seed
        return flat


def _larger(flat: Flat) -> Flat:
    """Twice the room where it was used up."""
    rooms = (
        (flat.attributes.shape[0], int(flat.state[ATTRIBUTES])),
        (flat.spans.shape[0], int(flat.state[SPANS])),
        (flat.scopes.shape[0], int(flat.state[SCOPES])),
        (flat.slots.size // 2, int(flat.state[KEYS])),
    )
    return make_flat(*(2 * room if used >= room else room for room, used in rooms))


def _decoded(flat: Flat, outcome: Outcome) -> Decoded:
    counts = {
        "future": int(flat.state[FUTURE]),
        "no_timestamp": int(flat.state[NO_TIMESTAMP]),
        "identity_too_long": int(flat.state[IDENTITY_TOO_LONG]),
        **outcome.rejected,
    }
    rejected = {reason: count for reason, count in counts.items() if count}
    return Decoded(
        batches=outcome.batches,
        received=int(flat.state[RECEIVED]),
        ignored=int(flat.state[IGNORED]),
        rejected=rejected,
        messages=tuple(f"{count} spans {_MESSAGES[reason]}" for reason, count in rejected.items()),
        dropped_values=outcome.dropped_values,
    )
