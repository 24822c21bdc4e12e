"""Which keys mean something: the names of `AttributesConfig`, compiled into arrays."""

from typing import NamedTuple

import numpy as np

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.layout import (
    BEARS_FEATURE,
    BEARS_LABEL,
    BEARS_PREDICTION,
    COLUMN,
    JSON,
    MODEL,
    NOTHING,
    PREDICTION_ID,
    SPECIALS,
    STAGE,
    VERSION,
    Ints,
)
from driftmeter.columnar.memory import Bytes, load8
from driftmeter.model.columns import Column, Role
from driftmeter.model.compiled import kernel

_BEARING = {Role.FEATURE: BEARS_FEATURE, Role.PREDICTION: BEARS_PREDICTION, Role.LABEL: BEARS_LABEL}
_SPECIAL_FIELDS = {
    "model_name": MODEL,
    "model_version": VERSION,
    "model_stage": STAGE,
    "prediction_id": PREDICTION_ID,
}
_JSON = "json:"
_ANY = "*"

RULE_OFFSET, RULE_LENGTH, RULE_EXACT, RULE_FIELD, RULE_BEARING = range(5)
TARGET_OFFSET, TARGET_LENGTH, TARGET_FIELD = range(3)

BARE_VALUE = b"value"
"""Name of the column that a JSON text which is no object is."""


class Naming(NamedTuple):
    """Names as the kernels see them.

    Attributes:
        text: All names and prefixes, UTF-8, one after the other, and last `BARE_VALUE`.
        rules: One row per name, in the order in which they are tried: offset and length in `text`; 1 for exact names,
            0 for prefixes; the special field, COLUMN or `JSON - n`; what a span with such a key says something about,
            bits of `KEY_BEARING`.
        targets: One row per JSON text: offset and length of the prefix that its members' names get; the special field
            that the text as a whole is instead, or -1.
        limits: Most attributes of an entry, most bytes of a text.
    """

    text: Bytes
    rules: Ints
    targets: Ints
    limits: Ints


class _Rule(NamedTuple):
    name: bytes
    exact: bool
    field: int
    bearing: int


def compile_naming(config: AttributesConfig) -> Naming:
    """Exact names first, then prefixes, the longer ones first."""
    rules = [_Rule(getattr(config, name).encode(), True, field, 0) for name, field in _SPECIAL_FIELDS.items()]
    targets: list[tuple[bytes, int]] = []
    for key, target in config.aliases.items():
        if target.startswith(_JSON):
            rules.append(_Rule(key.encode(), True, JSON - len(targets), 0))
            targets.append(_json_target(target.removeprefix(_JSON), config))
        elif target in _SPECIAL_FIELDS:
            rules.append(_Rule(key.encode(), True, _SPECIAL_FIELDS[target], 0))
        elif not key.endswith(_ANY):
            rules.append(_Rule(key.encode(), True, COLUMN, _bearing(Column.from_field(target).role)))
    rules += [_Rule(prefix.encode(), False, COLUMN, _bearing(role)) for prefix, role in _prefixes(config)]
    rules = [rule for rule in rules if rule.name or not rule.exact]
    texts = [*(rule.name for rule in rules), *(prefix for prefix, _ in targets)]
    starts = np.cumsum([0, *map(len, texts)]).tolist()
    rows = [(start, len(rule.name), *rule[1:]) for start, rule in zip(starts, rules, strict=False)]
    ends = [(start, len(prefix), field) for start, (prefix, field) in zip(starts[len(rules) :], targets, strict=False)]
    return Naming(
        np.frombuffer(b"".join(texts) + BARE_VALUE, np.uint8),
        np.array(rows, np.int64).reshape(-1, 5),
        np.array(ends, np.int64).reshape(-1, 3),
        np.array([config.max_attributes, config.max_text_bytes], np.int64),
    )


def column_of(key: str, config: AttributesConfig) -> Column:
    """The column that a key which is an alias or has one of the prefixes names."""
    target = config.aliases.get(key)
    if target is not None and not key.endswith(_ANY):
        return Column.from_field(target)
    for prefix, role in _prefixes(config):
        if key.startswith(prefix) and len(key) > len(prefix):
            return Column(role, key[len(prefix) :])
    raise ValueError(f"{key!r} is no column")


def _bearing(role: Role) -> int:
    return _BEARING.get(role, 0)


def _prefixes(config: AttributesConfig) -> list[tuple[str, Role]]:
    """Prefixes, the longer ones first."""
    prefixes = [(getattr(config, f"{role.value}_prefix"), role) for role in Role]
    for key, target in config.aliases.items():
        if key.endswith(_ANY):
            prefixes.append((key.removesuffix(_ANY), Column.from_field(target).role))
    return sorted(prefixes, key=lambda item: -len(item[0].encode()))


def _json_target(target: str, config: AttributesConfig) -> tuple[bytes, int]:
    """Prefix of the members' names, and the special field or -1."""
    if target in _SPECIAL_FIELDS:
        return b"", _SPECIAL_FIELDS[target]
    return getattr(config, f"{target}_prefix").encode(), -1


@kernel
def classify(buffer: Bytes, offset: int, length: int, naming: Naming) -> tuple[int, int]:
    """What a key means.

    Returns:
        The special field, COLUMN, `JSON - n` or NOTHING, and what the span says something about by this column.
        A prefix with nothing behind it means nothing.
    """
    rules = naming.rules
    for rule in range(rules.shape[0]):
        start, size = rules[rule, RULE_OFFSET], rules[rule, RULE_LENGTH]
        fits = length == size if rules[rule, RULE_EXACT] else length > size
        if fits and _starts_with(buffer, offset, naming.text, start, size):
            return rules[rule, RULE_FIELD], rules[rule, RULE_BEARING]
    return NOTHING, 0


@kernel
def _starts_with(buffer: Bytes, offset: int, text: Bytes, start: int, size: int) -> bool:
    for i in range(size):  # noqa: SIM110 - compiled.
        if load8(buffer, offset + i) != load8(text, start + i):
            return False
    return True


assert max(MODEL, VERSION, STAGE, PREDICTION_ID) < SPECIALS  # noqa: S101 - fields from SPECIALS on are columns.
