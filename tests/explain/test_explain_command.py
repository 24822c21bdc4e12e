"""`driftmeter explain` as a person runs it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from archive_samples import Sample, rows_entry, write_journal
from commands import Run, runner
from driftmeter.journal.files import RealFiles
from driftmeter.model.predictions import ModelKey
from rows import predictions

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
FLIGHTS = Path(__file__).resolve().parents[2] / "service" / "driftmeter" / "demo" / "flights.parquet"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`driftmeter explain` with these arguments, in this process."""
    return runner(monkeypatch, capsys, columns=140)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a baseline of January and February, and the rows of spring as a file."""
    directory = tmp_path_factory.mktemp("flights")
    rows = pl.read_parquet(FLIGHTS).select("scheduled", "temp", "carrier")
    march, june = (datetime(2013, month, 1, tzinfo=UTC) for month in (3, 6))
    rows.filter(pl.col("scheduled") < march).write_parquet(directory / "before.parquet")
    later = rows.filter(pl.col("scheduled").is_between(march, june, closed="left"))
    later.write_parquet(directory / "after.parquet")
    return directory


@pytest.fixture
def baseline(files: Path, run: Run) -> Path:
    """The baseline file, made once."""
    path = files / "flights.baseline.parquet"
    if not path.exists():
        data = ("--data", files / "before.parquet", "--timestamp", "scheduled", "--model", "flights")
        assert run("baseline", "build", *data, "--window", "24h", "--out", path).code == 0
    return path


def asked(files: Path, baseline: Path, feature: str, window: str) -> tuple[str | Path, ...]:
    """Arguments that ask for a window out of the file."""
    data = ("--data", files / "after.parquet", "--timestamp", "scheduled", "--baseline", baseline)
    return "explain", "--model", "flights", "--feature", feature, "--window", window, "--length", "24h", *data


def test_a_drifted_day_is_explained(files: Path, baseline: Path, run: Run) -> None:
    """Verdict, both histograms, statistics, null, level, the last windows and what moved: all readable."""
    ran = run(*asked(files, baseline, "temp", "2013-05-30"))
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "feature temp (numeric) of model flights"
    assert lines[1].startswith("window of 24h from 2013-05-30T00:00:00Z to 2013-05-31T00:00:00Z: ")
    assert any(line.startswith("Drifted: 3 of the last 3 windows that could be judged exceeded") for line in lines)
    (above,) = (line for line in lines if line.strip().startswith("above 64.4") and "█" in line)
    assert above.split()[4:5] == ["0.0%"]
    assert "null of jensen_shannon: own, 59 chunks of the baseline" in ran.out
    assert "level: " in ran.out
    (today,) = (line for line in lines if line.strip().startswith("2013-05-30"))
    assert today.split()[-2:] == ["yes", "drifted"]
    assert "of the distance" in ran.out


def test_a_day_without_drift_is_explained(files: Path, baseline: Path, run: Run) -> None:
    """It says how far it is from drift rather than nothing."""
    ran = run(*asked(files, baseline, "carrier", "2013-03-20T10:00"))
    assert ran.code == 0
    assert "Not drifted: 0 of the last 3 windows that could be judged exceeded; 2 of 3 are needed." in ran.out
    (row,) = (line for line in ran.out.splitlines() if line.strip().startswith("jensen_shannon "))
    assert row.split()[-3:] == ["no", "no", "drift"]


def test_json_has_the_same(files: Path, baseline: Path, run: Run) -> None:
    """For scripts: one object with everything, numbers as numbers."""
    ran = run(*asked(files, baseline, "temp", "2013-05-30"), "--json", "--history", "4")
    found = json.loads(ran.out)
    assert (found["feature"], found["verdict"], found["start"]) == ("temp", True, "2013-05-30T00:00:00Z")
    assert len(found["history"]) == 4
    assert {each["method"] for each in found["statistics"] if each["deciding"]} >= {"jensen_shannon", "missing_ratio"}
    assert sum(bar["window"] for bar in found["histogram"]) == pytest.approx(1)
    assert found["baseline"]["rows"] > 10_000


@pytest.mark.parametrize(
    ("feature", "window", "message"),
    [
        ("tempp", "latest", "there is no feature 'tempp' in the baseline: did you mean temp?"),
        ("temp", "2013-01-05", "the nearest from 2013-03-01T00:00:00Z"),
        ("temp", "yesterday", "--window 'yesterday': write a time such as"),
    ],
)
def test_mistakes_are_one_clear_line(
    files: Path, baseline: Path, run: Run, feature: str, window: str, message: str
) -> None:
    """What is wrong and what there is instead; exit code 2."""
    ran = run(*asked(files, baseline, feature, window))
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_the_configured_archive_and_baselines_are_taken(files: Path, baseline: Path, run: Run, tmp_path: Path) -> None:
    """With `--config` alone: the model's rows out of the archive, its baseline, the longest window."""
    rows = pl.read_parquet(files / "after.parquet").filter(pl.col("scheduled") >= datetime(2013, 5, 28, tzinfo=UTC))
    times = rows["scheduled"].dt.epoch("ns").to_numpy()
    columns = {"temp": rows["temp"].to_list(), "carrier": rows["carrier"].to_list()}
    batch = predictions(times, columns, key=ModelKey("flights", "7", ""))
    sample = Sample(files=RealFiles(), directory=tmp_path / "state")
    for segment in write_journal(sample.files, [[rows_entry(batch)]], sample.directory):
        sample.archive.add(segment)
    config = tmp_path / "driftmeter.yaml"
    config.write_text(f"journal: {{directory: {sample.directory}}}\nbaseline: {{files: [{baseline}]}}\n")
    ran = run("explain", "--config", config, "--model", "flights", "--feature", "temp", "--window", "2013-05-31T12:00Z")
    assert ran.code == 0
    assert "of model flights version 7" in ran.out
    assert "window of 24h from 2013-05-31T00:00:00Z" in ran.out
    assert "Drifted: " in ran.out
    config.write_text(f"journal: {{directory: {sample.directory}}}\n")
    ran = run("explain", "--config", config, "--model", "flights", "--feature", "temp")
    assert ran.code == 2
    assert "no baseline for model 'flights', version '7' among baseline.files (none)" in ran.err


def test_without_an_archive_a_file_is_asked_for(run: Run, tmp_path: Path) -> None:
    """A service that keeps nothing has nothing to explain from."""
    config = tmp_path / "driftmeter.yaml"
    config.write_text("journal: {archive: {enabled: false}}\n")
    ran = run("explain", "--config", config, "--model", "m", "--feature", "x")
    assert ran.code == 2
    assert "keeps no archive" in ran.err


def test_texts_and_embeddings_of_a_file_are_explained(tmp_path: Path, run: Run) -> None:
    """The file has the text and the vector as they are, and the baseline knows how to look at them."""
    random = np.random.default_rng(1)
    times = pl.datetime_range(FIRST, FIRST + timedelta(days=10), "10m", closed="left", eager=True)
    vectors = random.normal(size=(len(times), 3)).tolist()
    rows = pl.DataFrame(
        {
            "time": times,
            "vec": pl.Series(vectors, dtype=pl.List(pl.Float64)),
            "note": ["two words", "and three words"] * (len(times) // 2),
        }
    )
    rows.write_parquet(tmp_path / "rows.parquet")
    data = ("--data", tmp_path / "rows.parquet", "--timestamp", "time", "--model", "m")
    marks = ("--text", "note", "--embedding", "vec", "--window", "24h", "--out", tmp_path / "b.parquet")
    assert run("baseline", "build", *data, *marks).code == 0
    for feature in ("vec.norm", "note.words"):
        ran = run("explain", *data, "--feature", feature, "--baseline", tmp_path / "b.parquet", "--length", "24h")
        assert ran.code == 0
        assert "144 rows, 144 values" in ran.out
