"""References and changed baseline files over crashes: what is said is what a service that never stopped says."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.book import BaselineFile, ChangedFiles
from driftmeter.baseline.file import baseline_from_bytes, baseline_to_bytes, read_baseline
from driftmeter.model.baseline import Baseline
from restarting import Name, Restarting
from traffic import BASELINE, CONFIG, ROWS, Sent, requests_of
from watched_pipeline import MINUTE_NS, START_NS, baseline_of

REFERENCES: dict[str, Any] = CONFIG | {
    "window": {"lengths": ["1m"], "out_of_orderness": "10s", "allowed_lateness": "20m"},
    "baseline": {"references": ["file", "previous", {"rolling": "6m"}], "learn_rows": 100},
    "detect": {"min_rows": 5},
}


def _minute(it: Restarting, number: int, model: str = "prices") -> None:
    """Twenty spans in a minute of its own."""
    end_ns = START_NS + number * MINUTE_NS + 30 * 10**9
    it.clock.ns = end_ns
    it.take(*requests_of([Sent(100 * number + place, model, "row", end_ns) for place in range(20)]))
    it.tick(1)


def _said(it: Restarting) -> dict[tuple[Name, int], pl.DataFrame]:
    return {place: window.findings for place, window in it.seen.evaluated.items()}


@pytest.mark.parametrize("snapshots", [frozenset[int](), frozenset({4, 8})])
def test_references_go_on_after_a_crash(tmp_path: Path, snapshots: frozenset[int]) -> None:
    """Previous windows and rolling days are as they were, out of the snapshot and what came behind it."""
    with Restarting(REFERENCES, (BASELINE,)) as still, Restarting(REFERENCES, (BASELINE,), tmp_path) as it:
        for number in range(11):
            _minute(still, number)
            _minute(it, number)
            if number in snapshots:
                it.snapshot()
            if number in (6, 9):
                it.restart()
        expected, found = _said(still), _said(it)
    assert found.keys() == expected.keys()
    assert all(found[place].equals(expected[place]) for place in expected)
    rolling = pl.concat([*found.values()]).filter((pl.col("baseline") == "rolling") & pl.col("value").is_not_null())
    assert rolling.height > 20


def _changed(baseline: Baseline) -> ChangedFiles:
    content = baseline_to_bytes(baseline)
    return ChangedFiles((BaselineFile(Path("b.parquet"), baseline_from_bytes(content), content),))


@pytest.mark.parametrize(("same_bins", "snapshot_at"), [(False, None), (True, None), (False, 3), (True, 6), (False, 6)])
def test_a_changed_file_takes_effect_at_the_same_place_again(
    tmp_path: Path,
    same_bins: bool,  # noqa: FBT001
    snapshot_at: int | None,
) -> None:
    """A replay compares with the file as it was then, and changes to the other at the entry that says so."""
    rows = ROWS if same_bins else ROWS.with_columns(size=pl.Series(np.random.default_rng(8).normal(5, 2, len(ROWS))))
    other = baseline_of(rows, "prices", windows=["50rows"])
    assert (other.layout.fingerprint == BASELINE.layout.fingerprint) == same_bins
    with Restarting(REFERENCES, (BASELINE,)) as still, Restarting(REFERENCES, (BASELINE,), tmp_path) as it:
        for number in range(9):
            for each in (still, it):
                _minute(each, number)
                if number == 5:
                    each.pipeline.reload(_changed(other))
                    each.pipeline.settle()
            if number == snapshot_at:
                it.snapshot()
            if number in (4, 7):
                it.baselines = (BASELINE,) if number == 4 or snapshot_at in (None, 3) else (baseline_of_file(other),)
                it.restart()
        assert _said(it).keys() == _said(still).keys()
        assert all(found.equals(_said(still)[place]) for place, found in _said(it).items())
        assert it.ledger() == still.ledger()


def baseline_of_file(baseline: Baseline) -> Baseline:
    """The same as it is read from its file."""
    return baseline_from_bytes(baseline_to_bytes(baseline))


def test_a_file_that_came_for_a_learning_model_is_replayed(tmp_path: Path) -> None:
    """Rows that waited are counted once, before a crash and after it."""
    with Restarting(REFERENCES, (), tmp_path) as it:
        _minute(it, 0)
        it.pipeline.reload(_changed(BASELINE))
        it.pipeline.settle()
        assert it.rows("counted") == 20
        for _ in range(2):
            it.restart()
            assert (it.rows("counted"), it.telemetry.pending_rows.value()) == (20, 0)
        _minute(it, 1)
        it.assert_ledger_holds()


def test_a_learned_baseline_is_a_file_that_can_be_looked_at(tmp_path: Path) -> None:
    """It is the one in use, hash included, and stays so over a restart."""
    with Restarting(REFERENCES, (), tmp_path) as it:
        for number in range(6):
            _minute(it, number, "new models/1")
        (path,) = (tmp_path / "learned").iterdir()
        (model,) = it.pipeline._models.values()
        assert model.baseline is not None
        written = read_baseline(path)
        assert path.name == "new%20models%2F1.parquet"
        assert (written.model, written.content_hash) == ("new models/1", model.baseline.content_hash)
        it.restart()
        assert read_baseline(path).content_hash == written.content_hash
