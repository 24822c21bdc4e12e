"""How a baseline sees raw rows: columns of numbers in the place of its columns of texts and of embeddings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftmeter.baseline.embeddings import frames_of
from driftmeter.baseline.texts import vocabularies_of
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import Kind
from driftmeter.summary import embeddings, texts
from driftmeter.summary.embeddings import Frame
from driftmeter.summary.texts import Vocabulary

Mismatches = Mapping[str, npt.NDArray[np.uint32]]


@dataclass(frozen=True, eq=False)
class Derivation:
    """The columns of texts and of embeddings that there are, and how they are looked at.

    Attributes:
        vocabularies: Words that are known, by the field of the texts.
        frames: From where vectors are looked at, by the field of the embeddings.
    """

    vocabularies: Mapping[str, Vocabulary]
    frames: Mapping[str, Frame]

    @classmethod
    def of(cls, baseline: Baseline) -> Self:
        """As rows that are compared with a baseline are looked at."""
        return cls(vocabularies_of(baseline), frames_of(baseline))

    @cached_property
    def derived(self) -> dict[str, tuple[str, ...]]:
        """Fields of numbers, by the field that they are made of."""
        of_texts = {field: texts.derived_fields(field) for field in self.vocabularies}
        return of_texts | {field: embeddings.derived_fields(field) for field in self.frames}

    def numbers(self, rows: pa.RecordBatch, mismatches: Mismatches) -> tuple[pa.RecordBatch, Mismatches]:
        """Rows with numbers in the place of texts and embeddings, and their mismatches, by field."""
        if self.vocabularies:
            rows, mismatches = texts.with_derived(rows, mismatches, self.vocabularies)
        if self.frames:
            rows, mismatches = embeddings.with_measured(rows, mismatches, self.frames)
        return rows, mismatches

    def sources(self, fields: Iterable[str]) -> list[str]:
        """The fields of raw rows that these are made of, or are."""
        return list(dict.fromkeys(self._source.get(field, field) for field in fields))

    def raw_kinds(self, baseline: Baseline) -> dict[str, Kind]:
        """What raw rows like a baseline's hold, by field."""
        kinds = baseline.layout.kinds
        raw = {name: kinds[name] for name in kinds.keys() - self._source.keys()}
        return raw | dict.fromkeys(self.vocabularies, Kind.CATEGORICAL) | dict.fromkeys(self.frames, Kind.EMBEDDING)

    @cached_property
    def _source(self) -> dict[str, str]:
        return {name: field for field, names in self.derived.items() for name in names}
