"""Which window is current, which series ended, which model fell silent."""

from dataclasses import replace

import polars as pl

from driftmeter.export.current import SILENCE_NS_MIN, CurrentValues, silence_ns_of
from driftmeter.export.points import SERIES, is_stale
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import parse_window
from export_samples import evaluated, series_of

_DAY_NS = 86_400 * 10**9


def _score(table: pl.DataFrame) -> list[float]:
    rows = table.filter((pl.col("metric") == "ml_feature_drift_score") & (pl.col("feature") == "temp"))
    return rows.get_column("value").to_list()


def _update(current: CurrentValues, window_number: int, revision: int = 0, value: float | None = None) -> bool:
    window = evaluated(window_number, revision=revision, value=value)
    return current.update(window, window.points(0), 0) is not None


def test_the_newest_window_wins_whatever_the_order() -> None:
    """A later window replaces an earlier one, never the other way round."""
    current = CurrentValues()
    assert _update(current, 1)
    assert _update(current, 3)
    assert not _update(current, 2)
    assert _score(current.snapshot(0)) == [0.103]


def test_a_revision_counts_only_for_the_newest_window() -> None:
    """A revision of the current window replaces its values; one of an older window, or an old revision, does not."""
    current = CurrentValues()
    assert _update(current, 1)
    assert _update(current, 2)
    assert not _update(current, 1, revision=1, value=0.5)
    assert _update(current, 2, revision=2, value=0.6)
    assert not _update(current, 2, revision=1, value=0.7)
    assert _score(current.snapshot(0)) == [0.6]


def test_windows_by_rows_are_ordered_by_their_index() -> None:
    """Rows come in any order of time, so a later window by rows may end earlier; it is the newer one all the same."""
    current = CurrentValues()
    by_rows = parse_window("5000rows")
    first = replace(evaluated(5), window=by_rows, window_index=0)
    second = replace(evaluated(2), window=by_rows, window_index=1)
    assert current.update(first, first.points(0), 0) is not None
    assert current.update(second, second.points(0), 0) is not None
    assert current.update(first, first.points(0), 0) is None
    assert _score(current.snapshot(0)) == [0.102]


def test_windows_by_time_are_ordered_by_their_end() -> None:
    """A window that is evaluated late has a higher number than later ones, and is older all the same."""
    current = CurrentValues()
    late = replace(evaluated(2), window_index=6)
    assert _update(current, 5)
    assert current.update(late, late.points(0), 0) is None
    assert _score(current.snapshot(0)) == [0.105]


def test_models_and_windows_are_kept_side_by_side() -> None:
    """A snapshot has every model and window length, each series once, at the time asked for."""
    current = CurrentValues()
    for window in (evaluated(1), evaluated(9, window="1h"), evaluated(4, key=ModelKey("other", "1", ""))):
        current.update(window, window.points(0), 0)
    snapshot = current.snapshot(77)
    assert len(series_of(snapshot)) == snapshot.height
    assert set(snapshot.get_column("timestamp_ms")) == {77}
    assert sorted(_score(snapshot)) == [0.101, 0.104, 0.109]


def test_series_that_a_new_window_does_not_continue_get_a_stale_marker() -> None:
    """A verdict or feature that is no longer there ends at once, instead of being looked back upon for five minutes."""
    current = CurrentValues()
    old = evaluated(1)
    new = evaluated(2, columns=(("temp", "feature"),), detected=None)
    current.update(old, old.points(0), 0)
    update = current.update(new, new.points(0), 0)
    assert update is not None
    stale = update.filter(pl.Series(is_stale(update.get_column("value").to_numpy())))
    ended = old.points(0).join(new.points(0), on=SERIES, how="anti")
    assert set(series_of(stale)) == set(series_of(ended))
    assert "ml_feature_drift_detected" in set(stale.get_column("metric"))
    assert series_of(current.snapshot(0)) == series_of(new.points(0))


def test_a_silent_model_gets_stale_markers_once_and_is_forgotten() -> None:
    """After three window lengths without a window, and not before."""
    current = CurrentValues()
    window = evaluated(1)
    current.update(window, window.points(0), 100)
    assert current.expire(100 + 3 * _DAY_NS).is_empty()
    assert current.snapshot(0).height == window.points(0).height
    stale = current.expire(101 + 3 * _DAY_NS)
    assert is_stale(stale.get_column("value").to_numpy()).all()
    assert set(series_of(stale)) == set(series_of(window.points(0)))
    assert current.expire(102 + 3 * _DAY_NS).is_empty()
    assert current.snapshot(0).is_empty()


def test_silence_of_short_windows_and_windows_by_rows() -> None:
    """Short windows are given ten minutes; a window by rows is as long as the time its rows span."""
    assert silence_ns_of(evaluated(1, window="1m")) == SILENCE_NS_MIN
    by_rows = replace(evaluated(1), window=parse_window("5000rows"))
    assert silence_ns_of(by_rows) == 3 * _DAY_NS
    assert silence_ns_of(replace(by_rows, start_ns=None, end_ns=None)) == SILENCE_NS_MIN
