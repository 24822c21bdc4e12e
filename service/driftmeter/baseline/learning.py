"""Models without a baseline file: their first rows wait until there are enough to learn one from."""

from dataclasses import dataclass, field

from driftmeter.baseline.build import build_baseline, dataset_of_batches
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey, Predictions


@dataclass
class Learning:
    """Rows of one model that wait for a baseline.

    Attributes:
        key: The model, version and stage.
        rows_needed: How many rows a baseline is learned from.
    """

    key: ModelKey
    rows_needed: int
    batches: list[Predictions] = field(default_factory=list)
    rows: int = 0

    def add(self, batch: Predictions) -> None:
        """Keep a batch."""
        self.batches.append(batch)
        self.rows += batch.rows.num_rows

    @property
    def enough(self) -> bool:
        """Whether a baseline can be learned now."""
        return self.rows >= self.rows_needed

    def forget(self) -> int:
        """Drop the rows that wait; returns how many they were."""
        rows, self.rows = self.rows, 0
        self.batches.clear()
        return rows

    def learn(self) -> Baseline:
        """A provisional baseline from the rows that wait; raises BaselineError when they hold nothing to compare."""
        data = dataset_of_batches([batch.rows for batch in self.batches])
        return build_baseline(data, self.key.model, self.key.version, (), name="learned")
