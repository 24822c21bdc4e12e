"""Which keys mean something: the names of `AttributesConfig`, compiled into arrays."""

from typing import NamedTuple

import numpy as np

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.layout import MODEL, PREDICTION_ID, SPECIALS, STAGE, VERSION, Ints
from driftmeter.columnar.memory import Bytes, load8
from driftmeter.model.columns import Column, Role
from driftmeter.model.compiled import kernel

_BEARING_ROLES = (Role.FEATURE, Role.PREDICTION, Role.LABEL)


class Naming(NamedTuple):
    """Names as the kernels see them.

    Attributes:
        text: All exact names and prefixes, UTF-8, one after the other.
        rules: One row per name, in the order in which they are tried: offset and length in `text`; the special
            field for exact names, -1 for prefixes; 1 when a span with such a key has something to say about drift.
    """

    text: Bytes
    rules: Ints


def compile_naming(config: AttributesConfig) -> Naming:
    """Exact names first, then prefixes, the longer ones first."""
    exact = [
        (config.model_name, MODEL),
        (config.model_version, VERSION),
        (config.model_stage, STAGE),
        (config.prediction_id, PREDICTION_ID),
    ]
    rules = [(name.encode(), field, 0) for name, field in exact if name]
    rules += [(prefix.encode(), -1, int(role in _BEARING_ROLES)) for prefix, role in _prefixes(config)]
    starts = np.cumsum([0, *(len(name) for name, _, _ in rules)])
    rows = [(start, len(name), field, bearing) for start, (name, field, bearing) in zip(starts, rules, strict=False)]
    text = b"".join(name for name, _, _ in rules)
    return Naming(np.frombuffer(text or b"\0", np.uint8), np.array(rows, np.int64).reshape(-1, 4))


def column_of(key: str, config: AttributesConfig) -> Column:
    """The column that a key with one of the prefixes names."""
    for prefix, role in _prefixes(config):
        if key.startswith(prefix) and len(key) > len(prefix):
            return Column(role, key[len(prefix) :])
    raise ValueError(f"{key!r} has none of the prefixes")


def _prefixes(config: AttributesConfig) -> list[tuple[str, Role]]:
    """Prefixes, the longer ones first."""
    prefixes = [
        (config.feature_prefix, Role.FEATURE),
        (config.prediction_prefix, Role.PREDICTION),
        (config.probability_prefix, Role.PROBABILITY),
        (config.label_prefix, Role.LABEL),
        (config.segment_prefix, Role.SEGMENT),
    ]
    return sorted(prefixes, key=lambda item: -len(item[0].encode()))


@kernel
def classify(buffer: Bytes, offset: int, length: int, naming: Naming) -> tuple[int, int]:
    """What a key means.

    Returns:
        The special field and 0; or -1 and whether the span becomes feature-bearing by this column (0 or 1); or
        -1 and -1 when the key means nothing. A prefix with nothing behind it means nothing.
    """
    rules = naming.rules
    for rule in range(rules.shape[0]):
        start, size, field = rules[rule, 0], rules[rule, 1], rules[rule, 2]
        if (length == size if field >= 0 else length > size) and _starts_with(buffer, offset, naming.text, start, size):
            return field, rules[rule, 3]
    return -1, -1


@kernel
def _starts_with(buffer: Bytes, offset: int, text: Bytes, start: int, size: int) -> bool:
    for i in range(size):  # noqa: SIM110 - compiled.
        if load8(buffer, offset + i) != load8(text, start + i):
            return False
    return True


assert max(MODEL, VERSION, STAGE, PREDICTION_ID) < SPECIALS  # noqa: S101 - fields from SPECIALS on are columns.
