"""Models without a baseline file: their first rows wait until there are enough to learn one from."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from driftmeter.baseline.build import build_baseline, dataset_of_batches
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey, Predictions
from driftmeter.telemetry.logs import fields

_DRAWS = 32
"""Draws for the noise of a provisional baseline, which decides nothing: a quarter of the time of the usual number."""

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
    """

    key: ModelKey
    rows_needed: int
    batches: list[Predictions] = field(default_factory=list)
    rows: int = 0
    under_way: bool = False

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
        """What learns a baseline from the rows that wait now; it may run on another thread.

        It gives a provisional baseline, or None when the rows hold nothing to compare.
        """
        return partial(_learn, self.key, [batch.rows for batch in self.batches])


def _learn(key: ModelKey, rows: list[pa.RecordBatch]) -> Baseline | None:
    try:
        data = dataset_of_batches(rows)
        return build_baseline(data, key.model, key.version, (), name="learned", noise_draws=_DRAWS)
    except BaselineError as error:
        _LOG.warning("cannot learn a baseline from these rows: %s", error, extra=fields(model=key.model))
        return None
