"""Texts to numbers: length, words, and the share of words that the baseline does not know.

A column of texts becomes three columns of numbers, `NAME.length` (characters), `NAME.words` and `NAME.oov_ratio`, which
are counted, compared and judged like any others. A word is a run of letters, digits and underscores, in small letters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

LENGTH, WORDS, OOV_RATIO = "length", "words", "oov_ratio"
DERIVED = (LENGTH, WORDS, OOV_RATIO)
"""What a text's columns are called behind its own name and a dot."""

WORDS_MAX = 20_000
"""Words that a baseline remembers of a column, those of the most rows; further ones are out of its vocabulary."""

_WORD = r"\w+"
_WORD_CHARACTERS_MAX = 64  # What is longer is no word that could be known again; it is cut.

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Words that are known.

    Attributes:
        words: Distinct words.
    """

    words: tuple[str, ...]

    @cached_property
    def index(self) -> pl.Enum:
        """The same as a type: casting to it looks words up."""
        return pl.Enum(self.words)


def derived_fields(field: str) -> tuple[str, ...]:
    """Fields of the columns that a field of texts becomes."""
    return tuple(f"{field}.{name}" for name in DERIVED)


def words_of(texts: pl.Series) -> pl.Series:
    """List of strings (texts,): each text's words."""
    return texts.str.to_lowercase().str.extract_all(_WORD).list.eval(pl.element().str.slice(0, _WORD_CHARACTERS_MAX))


def measure(texts: pa.DictionaryArray, vocabulary: Vocabulary) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Length, words and share of unknown words of each row.

    Args:
        texts: dictionary<int32, string> (rows,).
        vocabulary: Words that are known.

    Returns:
        float64 (rows,) each, null where the text is; the share also where it has no word.

    Cost: some microseconds for each distinct text, little for each row.
    """
    distinct = pl.Series("text", pl.from_arrow(texts.dictionary), pl.String)
    words = words_of(distinct).fill_null([])
    count = words.list.len().to_numpy().astype(np.float64)
    known = words.explode(empty_as_null=False).cast(vocabulary.index, strict=False).is_not_null().to_numpy()
    ends = np.cumsum(count).astype(np.int64)
    sums = np.concatenate(([0], np.cumsum(~known)))
    unknown = sums[ends] - sums[ends - count.astype(np.int64)]
    length = distinct.str.len_chars().fill_null(0).to_numpy().astype(np.float64)
    missing = texts.is_null().to_numpy(zero_copy_only=False)
    codes = texts.indices.fill_null(0).to_numpy(zero_copy_only=False)
    empty = count == 0
    share = np.divide(unknown, count, out=np.zeros_like(count), where=~empty)
    if not len(distinct):
        nothing = pa.nulls(len(texts), pa.float64())
        return nothing, nothing, nothing
    return (
        pa.array(length[codes], pa.float64(), mask=missing),
        pa.array(count[codes], pa.float64(), mask=missing),
        pa.array(share[codes], pa.float64(), mask=missing | empty[codes]),
    )


def with_derived(
    rows: pa.RecordBatch, mismatches: Mapping[str, npt.NDArray[np.uint32]], vocabularies: Mapping[str, Vocabulary]
) -> tuple[pa.RecordBatch, dict[str, npt.NDArray[np.uint32]]]:
    """Rows with what their texts become in the place of these, and the mismatches of the columns.

    Args:
        rows: One row per prediction.
        mismatches: Row numbers whose value had the wrong type, by field name.
        vocabularies: By the field of the texts.
    """
    columns = dict(zip(rows.schema.names, rows.columns, strict=True))
    wrong = dict(mismatches)
    for field, vocabulary in vocabularies.items():
        texts = columns.pop(field, None)
        if texts is None:
            continue
        fields = derived_fields(field)
        if not pa.types.is_dictionary(texts.type):  # Numbers, all null, of a column that had no value yet.
            texts = pa.nulls(rows.num_rows, pa.string()).dictionary_encode()
        columns |= zip(fields, measure(texts, vocabulary), strict=True)
        rows_of_it = wrong.pop(field, None)
        if rows_of_it is not None:
            wrong |= dict.fromkeys(fields, rows_of_it)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)), wrong
