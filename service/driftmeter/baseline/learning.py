"""Models without a baseline file: their first rows wait until there are enough to learn one from."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from driftmeter.baseline.build import build_baseline, dataset_of_batches
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.baseline.file import hashed
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline
from driftmeter.model.bundle import Tree
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.model.waiting import batches_from_state, batches_state
from driftmeter.telemetry.logs import fields

_LOG = logging.getLogger(__name__)


@dataclass
class Learning:
    """Rows of one model that wait for a baseline.

    Attributes:
        key: The model, version and stage.
        rows_needed: How many rows a baseline is learned from.
        batches: The rows.
        rows: How many they are.
        under_way: Whether the baseline is being learned.
        texts: Columns of texts; wildcards are allowed.
    """

    key: ModelKey
    rows_needed: int
    batches: list[Predictions] = field(default_factory=list)
    rows: int = 0
    under_way: bool = False
    texts: tuple[str, ...] = ()

    def add(self, batch: Predictions) -> None:
        """Keep a batch."""
        self.batches.append(batch)
        self.rows += batch.rows.num_rows

    @property
    def enough(self) -> bool:
        """Whether to begin to learn now."""
        return not self.under_way and self.rows >= self.rows_needed

    def forget(self) -> list[Predictions]:
        """Drop the rows that wait; returns them."""
        batches, self.batches, self.rows = self.batches, [], 0
        return batches

    def task(self) -> Callable[[], Baseline | None]:
        """What learns a baseline from the first `rows_needed` rows that wait; it may run on another thread.

        The baseline depends on these rows and their order alone: neither on what came after them until now nor on how
        they were cut into batches. So it is the same when the learning begins again after a restart.

        It gives a provisional baseline with its content hash, or None when the rows hold nothing to compare.
        """
        return partial(_learn, self.key, _first([batch.rows for batch in self.batches], self.rows_needed), self.texts)

    def state(self) -> Tree:
        """The rows that wait, for `restore`; what is being learned has to be begun again."""
        return batches_state(self.batches)

    def restore(self, tree: Tree) -> None:
        """Take over a state; afterwards `enough` says whether to begin to learn.

        Raises:
            DamagedError: It is none.
        """
        batches = batches_from_state(self.key, tree)
        self.batches, self.rows = batches, sum(batch.rows.num_rows for batch in batches)


def _first(batches: list[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """The batches that hold the first so many rows, the last one cut."""
    first: list[pa.RecordBatch] = []
    for batch in batches:
        if rows <= 0:
            break
        first.append(batch.slice(0, rows))
        rows -= batch.num_rows
    return first


def _learn(key: ModelKey, rows: list[pa.RecordBatch], texts: tuple[str, ...]) -> Baseline | None:
    try:
        data = DerivedRows.of_reference(dataset_of_batches(rows), texts)
        return hashed(build_baseline(data, key.model, key.version, (), name="learned"))
    except BaselineError as error:
        _LOG.warning("cannot learn a baseline from these rows: %s", error, extra=fields(model=key.model))
        return None
