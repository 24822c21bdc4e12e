"""From OTLP requests to what goes into the journal: decoded, without the spans that were accepted before."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from driftmeter.baseline.book import BaselineBook
from driftmeter.columnar.decoder import Decoded, Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.config import Config
from driftmeter.errors import TransientError
from driftmeter.journal.entries import BatchEntry, QuarantinedEntry, RowsEntry
from driftmeter.model.baseline import Baseline
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.model.request import Request, Signal
from driftmeter.model.windows import parse_duration_ns
from driftmeter.watched import WatchedModel
from driftmeter.window.seen import Admitted

SMALL_BYTES = 64 * 1024
"""Requests up to this size are decoded together: most of their cost is the same for one and for many."""


@dataclass(eq=False)
class Taken:
    """Requests that become one entry of the journal.

    Attributes:
        places: Which of the requests at hand.
        entry: What is to be written.
        admitted: What was noted for it, to be taken back if it cannot be written.
        poisoned: Batches that could not be looked through for duplicates, and why.
        set_aside: What is written for these.
        rejected: Spans that are not taken.
        messages: Why.
    """

    places: Sequence[int]
    entry: RowsEntry
    admitted: list[tuple[WatchedModel, Admitted]] = field(default_factory=list)
    poisoned: list[tuple[BatchEntry, Exception]] = field(default_factory=list)
    set_aside: list[QuarantinedEntry] = field(default_factory=list)
    rejected: int = 0
    messages: list[str] = field(default_factory=list)

    def undo(self) -> None:
        """Take back what was noted, the newest first."""
        for model, admitted in reversed(self.admitted):
            model.undo(admitted)


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that is no entry: malformed, or one that the decoder failed on."""

    place: int
    error: Exception


class Intake:
    """Decodes requests and drops duplicates.

    Args:
        config: The service's configuration.
        baselines: Baselines from files: they say what kind of values columns hold.
        model_of: The state of a model, made when there is none.
        is_known: Whether a model has state.
    """

    def __init__(
        self,
        config: Config,
        baselines: BaselineBook,
        model_of: Callable[[ModelKey], WatchedModel],
        is_known: Callable[[ModelKey], bool],
    ) -> None:
        self._baselines = baselines
        self._kinds = KindBook()
        self._decoder = Decoder(config.attributes, self._kinds, lambda key: self._baseline(key) is not None)
        self._model_of = model_of
        self._is_known = is_known
        self._max_future_ns = None if config.window.clock == "data" else parse_duration_ns(config.window.max_future)

    def warm_up(self) -> None:
        """Compile or load all kernels."""
        self._decoder.warm_up()

    def declare(self, baseline: Baseline) -> None:
        """The kinds of a model's columns are as its baseline says."""
        self._kinds.declare(baseline.model, baseline.version, baseline.layout.kinds)

    def observe(self, batch: Predictions) -> None:
        """The model is known, and the kinds of its columns, as they were when this batch was decoded."""
        self._decoder.learn(batch)

    def take(self, requests: Sequence[Request], now_ns: int) -> Iterator[Taken | Failed]:
        """Decode requests, small ones together where all is well with them, and drop what was accepted before.

        Args:
            requests: Of both signals.
            now_ns: The time.

        Raises:
            TransientError: What was seen before cannot be read now; nothing of that request is noted.
        """
        for signal in Signal:
            places = [place for place, request in enumerate(requests) if request.signal is signal]
            small = [place for place in places if len(requests[place].body) <= SMALL_BYTES]
            together = self._decode_together(requests, small, signal, now_ns) if len(small) > 1 else None
            if together is not None:
                yield self._admit(small, together, now_ns)
                places = sorted(set(places) - set(small))
            for place in places:
                yield self._take_one(requests[place], place, now_ns)

    def _take_one(self, request: Request, place: int, now_ns: int) -> Taken | Failed:
        try:
            decoded = self._decode([request.body], request.signal, now_ns)
        except Exception as error:  # noqa: BLE001 - one of the places that catch all: no poison, whatever it is.
            return Failed(place, error)
        return self._admit([place], decoded, now_ns)

    def _decode_together(
        self, requests: Sequence[Request], places: Sequence[int], signal: Signal, now_ns: int
    ) -> Decoded | None:
        """Several requests as one; None where something is wrong with one, which by itself says which and what."""
        try:
            decoded = self._decode([requests[place].body for place in places], signal, now_ns)
        except Exception:  # noqa: BLE001 - as above.
            return None
        return None if decoded.rejected or decoded.limited else decoded

    def _decode(self, bodies: Sequence[bytes], signal: Signal, now_ns: int) -> Decoded:
        not_after_ns = None if self._max_future_ns is None else now_ns + self._max_future_ns
        decode = partial(self._decoder.decode_many, bodies, signal, not_after_ns=not_after_ns)
        decoded = decode()
        new = [batch.key for batch in decoded.batches if not self._is_known(batch.key)]
        # Columns of a new model were read as their first values suggest; its baseline knows better.
        known = [baseline for key in new if (baseline := self._baseline(key))]
        for baseline in known:
            self.declare(baseline)
        return decode() if known else decoded

    def _admit(self, places: Sequence[int], decoded: Decoded, now_ns: int) -> Taken:
        taken = Taken(places, RowsEntry(now_ns, 0, 0, {}, {}, ()))
        try:
            batches = self._without_duplicates(decoded, taken)
        except TransientError:
            taken.undo()
            raise
        failed = sum(batch.spans for batch, _ in taken.poisoned)
        taken.entry = RowsEntry(
            now_ns, decoded.received - failed, decoded.ignored, decoded.rejected, decoded.dropped_values, tuple(batches)
        )
        taken.messages = [*decoded.messages, *([quarantined_message(failed)] if failed else [])]
        taken.rejected = sum(decoded.rejected.values()) + failed
        return taken

    def _without_duplicates(self, decoded: Decoded, taken: Taken) -> list[BatchEntry]:
        batches: list[BatchEntry] = []
        for batch, spans, nameless in zip(decoded.batches, decoded.batch_spans, decoded.without_identity, strict=True):
            try:
                model = self._model_of(batch.key)
                fresh, decision = model.admit(batch)
            except TransientError:
                raise
            except Exception as error:  # noqa: BLE001 - as above, for one batch of the request.
                taken.poisoned.append((BatchEntry(batch, spans, 0, 0), error))
            else:
                taken.admitted.append((model, decision))
                batches.append(BatchEntry(fresh, spans - decision.duplicates, decision.duplicates, nameless))
        return batches

    def _baseline(self, key: ModelKey) -> Baseline | None:
        return self._baselines.find(key.model, key.version)

    def state(self) -> Tree:
        """What was learned of columns and models, for `restore`."""
        return self._decoder.state()

    def restore(self, tree: Tree) -> None:
        """Take over a state. Raises DamagedError when it is none."""
        self._decoder.restore(tree)


def quarantined_message(spans: int) -> str:
    """What a sender's operator is told."""
    return f"{spans} spans quarantined after an internal error"
