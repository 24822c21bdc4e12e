"""Baselines of rows that a service has archived."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftmeter.archived import ArchivedReference, archived_reference, time_span_ns
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.file import hashed
from driftmeter.errors import BaselineError, ConfigError
from driftmeter.journal.archive_layout import HOUR_NS, file_name, hour_path
from driftmeter.journal.archive_rows import by_hour, joined, parquet_of
from driftmeter.model.columns import Kind
from driftmeter.model.predictions import ModelKey
from driftmeter.model.windows import parse_window
from rows import DAY_NS, dataset, predictions

START_NS = 20_000 * DAY_NS
KEY = ModelKey("prices", "3", "")


def _archive(
    archive: Path,
    times_ns: Sequence[int],
    columns: Mapping[str, Sequence[float | str | None]],
    key: ModelKey = KEY,
    first: int = 1,
) -> None:
    """Rows as a service archives them, by its own functions."""
    table = joined([predictions(times_ns, columns, key=key).rows])
    for each in by_hour(table):
        path = hour_path(archive, key, each.hour)
        path.mkdir(parents=True, exist_ok=True)
        (path / file_name(first, first)).write_bytes(parquet_of(key, each.rows))


def _everything(archive: Path, version: str | None = None, stage: str | None = None) -> ArchivedReference:
    return archived_reference(archive, "prices", version, stage, 0, 2**62)


def test_the_archives_rows_are_those_of_a_file(tmp_path: Path) -> None:
    """The same baseline, hash included, as of a file with these rows in the archive's order."""
    random = np.random.default_rng(1)
    times = np.sort(START_NS + random.integers(0, 40 * HOUR_NS, 3_000))
    x, c = random.normal(size=3_000), random.choice(["a", "b", "c"], 3_000)
    some = [value if number % 9 else None for number, value in enumerate(x.tolist())]
    _archive(tmp_path, times.tolist(), {"x": some, "c": c.tolist()})
    windows = [parse_window("1h"), parse_window("100rows")]
    found = build_baseline(_everything(tmp_path), "prices", "3", windows, season_zone="UTC")
    frame = {"time": pl.from_epoch(pl.Series(times), "ns"), "c": c.tolist(), "x": some}
    expected = build_baseline(dataset(frame, "time"), "prices", "3", windows, season_zone="UTC")
    assert hashed(found).content_hash == hashed(expected).content_hash


def test_whole_hours_of_a_time_are_taken(tmp_path: Path) -> None:
    """Hours that the time touches are in; others are not."""
    _archive(tmp_path, [START_NS + number * HOUR_NS // 2 for number in range(20)], {"x": np.arange(20.0).tolist()})
    begin = START_NS + 2 * HOUR_NS + 5
    found = archived_reference(tmp_path, "prices", "3", None, begin, begin + HOUR_NS)
    (batch, *more) = found.batches(["feature.x"])
    values = np.concatenate([each.column(0).to_numpy() for each in (batch, *more)])
    assert values.tolist() == [4.0, 5.0, 6.0, 7.0]
    assert found.count == 4


def test_columns_come_and_go_and_change_their_kind(tmp_path: Path) -> None:
    """What a file lacks is missing in its rows; a column of numbers here and texts there is one of texts."""
    _archive(tmp_path, [START_NS, START_NS + 1], {"x": [1.0, 2.0], "y": [7.0, 8.0]})
    _archive(
        tmp_path,
        [START_NS + HOUR_NS] * 2,
        {"x": [3.0, None], "y": ["seven", None], "prediction.p": [0.5, 0.6]},
        first=2,
    )
    found = _everything(tmp_path)
    assert dict(found.kinds) == {
        "feature.x": Kind.NUMERIC,
        "feature.y": Kind.CATEGORICAL,
        "prediction.p": Kind.NUMERIC,
    }
    rows = [row for batch in found.batches(list(found.kinds), first=1, stop=4) for row in batch.to_pylist()]
    assert [row["feature.x"] for row in rows] == [2.0, 3.0, None]
    assert [row["feature.y"] for row in rows] == ["8", "seven", None]
    assert [row["prediction.p"] for row in rows] == [None, 0.5, 0.6]
    assert build_baseline(found, "prices", "", []).rows == 4


def test_versions_together_or_one_alone(tmp_path: Path) -> None:
    """Without a version all are taken; stages are never mixed."""
    for number, version in enumerate(("3", "4")):
        _archive(tmp_path, [START_NS], {"x": [1.0]}, ModelKey("prices", version, ""), first=number + 1)
    assert _everything(tmp_path).count == 2
    assert _everything(tmp_path, "4").count == 1
    _archive(tmp_path, [START_NS], {"x": [1.0]}, ModelKey("prices", "3", "canary"), first=9)
    with pytest.raises(BaselineError, match=r"several stages \('', 'canary'\): name one with --stage"):
        _everything(tmp_path)
    assert _everything(tmp_path, stage="canary").count == 1


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    """No archive, model, version, time, or column: each has its words."""
    with pytest.raises(BaselineError, match="there is no archive"):
        _everything(tmp_path / "archive")
    with pytest.raises(BaselineError, match="no rows of model 'prices'; it is empty"):
        _everything(tmp_path)
    _archive(tmp_path, [START_NS], {"x": [1.0]})
    with pytest.raises(BaselineError, match="no rows of model 'price'; there are 'prices'"):
        archived_reference(tmp_path, "price", None, None, 0, 2**62)
    with pytest.raises(BaselineError, match="no rows of version '5' of model 'prices'; there are '3'"):
        _everything(tmp_path, "5")
    with pytest.raises(BaselineError, match=r"in that time; there are some from 2024-10-04 00:00 to 2024-10-04 00:00"):
        archived_reference(tmp_path, "prices", None, None, START_NS + 5 * HOUR_NS, 2**62)
    _archive(tmp_path, [START_NS], {}, ModelKey("empty", "", ""))
    with pytest.raises(BaselineError, match="neither features nor predictions"):
        archived_reference(tmp_path, "empty", None, None, 0, 2**62)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """And the command that checks the archive."""
    _archive(tmp_path, [START_NS], {"x": [1.0]})
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(BaselineError, match="journal verify"):
        _everything(tmp_path)


def test_a_file_removed_meanwhile_is_no_crash(tmp_path: Path) -> None:
    """A running service removes what is too old."""
    _archive(tmp_path, [START_NS], {"x": [1.0]})
    found = _everything(tmp_path)
    (path,) = tmp_path.rglob("*.parquet")
    path.unlink()
    with pytest.raises(BaselineError, match="begin again"):
        list(found.batches(["feature.x"]))


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("7d", None, (93 * DAY_NS, 100 * DAY_NS)),
        ("24h", "2d", (97 * DAY_NS, 98 * DAY_NS)),
        ("1970-01-03", "1970-01-04T12:00", (2 * DAY_NS, 3 * DAY_NS + DAY_NS // 2)),
        ("1970-01-03T00:00:00+02:00", None, (2 * DAY_NS - 2 * HOUR_NS, 100 * DAY_NS)),
    ],
)
def test_times_are_durations_or_instants(since: str, until: str | None, expected: tuple[int, int]) -> None:
    """A duration before the end or now; an instant in UTC unless it says otherwise."""
    assert time_span_ns(since, until, 100 * DAY_NS) == expected


@pytest.mark.parametrize(
    ("since", "until", "message"),
    [("a week", None, "--since 'a week': write a duration such as 7d"), ("1d", "never", "--until 'never'"),
     ("1970-02-01", "1970-01-01", "is not before")],
)  # fmt: skip
def test_times_that_are_none_are_said_so(since: str, until: str | None, message: str) -> None:
    """With what can be written there."""
    with pytest.raises(ConfigError) as raised:
        time_span_ns(since, until, 100 * DAY_NS)
    assert message in str(raised.value)
