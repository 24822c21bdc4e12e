"""Whether live traffic has the columns that a baseline has, in words for people."""

from collections.abc import Collection, Iterable, Mapping

from driftmeter.baseline.derivation import Derivation
from driftmeter.model.baseline import Baseline
from driftmeter.model.columns import Column, Kind

_SHOWN_MAX = 10


def differences(baseline: Baseline, live: Mapping[str, Kind], empty: Collection[str] = ()) -> list[str]:
    """How the columns of live rows differ from those of a baseline, one line each sort; none when they fit.

    Args:
        baseline: The baseline.
        live: What each live column holds, by field; texts and embeddings as they are.
        empty: Live fields that never had a value.
    """
    kinds = Derivation.of(baseline).raw_kinds(baseline)
    there = live.keys() - set(empty)
    other = {name for name in kinds.keys() & there if kinds[name] is not live[name]}
    return words(kinds.keys() - there, there - kinds.keys(), {name: (kinds[name], live[name]) for name in other})


def words(missing: Iterable[str], unknown: Iterable[str], other: Mapping[str, tuple[Kind, Kind]]) -> list[str]:
    """The lines for these fields.

    Args:
        missing: In the baseline, and without a value in live rows.
        unknown: In live rows, and not in the baseline.
        other: Of another kind: the baseline's, and what they hold live.
    """
    lines = []
    if gone := _listed(missing):
        lines.append(f"in the baseline and missing live: {gone}; are they sent, and under these names?")
    if new := _listed(unknown):
        lines.append(f"live and not in the baseline: {new}; they are not compared, build a baseline that has them")
    if other:
        said = ", ".join(f"{_name(name)} ({before} there, {now} live)" for name, (before, now) in sorted(other.items()))
        lines.append(f"of another kind than in the baseline: {said}; their values are counted as mismatches")
    return lines


def _listed(fields: Iterable[str]) -> str:
    names = sorted(map(_name, fields))
    more = f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    return ", ".join(names[:_SHOWN_MAX]) + more


def _name(field: str) -> str:
    column = Column.from_field(field)
    return f"{column.role} {column.name}"
