"""`analyze` by segment: each value's rows against the same rows of the reference, one level for all."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon

from commands import Run, runner
from driftmeter.analyze import Analysis, analyze
from driftmeter.baseline.data import ColumnOptions, Dataset, to_dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import BaselineError
from driftmeter.model.windows import parse_window
from rows import DAY_NS

DAY = parse_window("24h")
OPTIONS = ColumnOptions.of("t", segments=["land=country"])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`driftmeter` in this process."""
    return runner(monkeypatch, capsys)


def _frame(seed: int, days: int, first_day: int, french: float = 0.0) -> pl.DataFrame:
    """Rows of three countries; of France's a third value of the category takes the place of so many."""
    random = np.random.default_rng(seed)
    size = 600 * days
    countries = random.choice(["DE", "FR", "IT"], size, p=[0.5, 0.3, 0.2])
    colours = random.choice(["red", "green", "blue"], size, p=[0.5, 0.4, 0.1])
    colours[(countries == "FR") & (random.random(size) < french)] = "blue"
    times = (first_day * DAY_NS + np.arange(size) * (days * DAY_NS // size)).tolist()
    return pl.DataFrame({"colour": colours, "x": random.normal(size=size), "land": countries}).with_columns(
        t=pl.Series(times).cast(pl.Datetime("ns", "UTC"))
    )


def _data(frame: pl.DataFrame) -> Dataset:
    return to_dataset(frame, OPTIONS, "rows")


REFERENCE, CURRENT = _frame(1, 28, 0), _frame(2, 6, 28, french=0.5)


def _analysed(values: int = 2) -> Analysis:
    return analyze(_data(REFERENCE), _data(CURRENT), [DAY], DetectConfig(), segments=["country"], segment_values=values)


def test_each_segment_is_compared_with_its_own_rows() -> None:
    """Scores are those of the segment's rows of both files, counted by scipy; only the one that moved has drifted."""
    found = _analysed().findings.filter((pl.col("column") == "colour") & (pl.col("method") == "jensen_shannon"))
    assert found["segment"].unique(maintain_order=True).to_list() == [None, "country=DE", "country=FR", "country=other"]
    names = ["red", "green", "blue"]

    def shares(frame: pl.DataFrame) -> list[int]:
        return [frame.filter(pl.col("colour") == name).height for name in names]

    days = CURRENT.with_columns(day=pl.col("t").dt.epoch("ns") // DAY_NS).partition_by("day", maintain_order=True)
    for label, lands in ((None, ["DE", "FR", "IT"]), ("country=FR", ["FR"]), ("country=other", ["IT"])):
        mine = found.filter(pl.col("segment").eq_missing(label)).sort("window_index")
        before = shares(REFERENCE.filter(pl.col("land").is_in(lands)))
        expected = [jensenshannon(shares(day.filter(pl.col("land").is_in(lands))), before, base=2) for day in days]
        np.testing.assert_allclose(mine["value"].to_numpy(), expected, atol=1e-9)
        assert mine["rows"].to_list() == [day.filter(pl.col("land").is_in(lands)).height for day in days]
    verdicts = {label: found.filter(pl.col("segment") == label)["detected"].to_list()[-1] for label in
                ("country=DE", "country=FR", "country=other")}  # fmt: skip
    assert verdicts == {"country=DE": False, "country=FR": True, "country=other": False}


def test_one_level_holds_for_all() -> None:
    """The verdicts on the model and on each segment are by the same level, which their replay together gives."""
    verdicts = _analysed().verdicts
    assert verdicts["level"].n_unique() == 1
    assert verdicts["segment"].n_unique() == 4
    alone = analyze(_data(REFERENCE), _data(CURRENT), [DAY], DetectConfig()).verdicts
    assert verdicts["level"][0] <= alone["level"][0]


def test_whole_rows_are_looked_at_for_the_model_alone() -> None:
    """Quality and odd rows are of all rows; of segments there is drift."""
    found = analyze(
        _data(REFERENCE), _data(CURRENT), [DAY], DetectConfig(), whole_rows=True, segments=["country"], segment_values=1
    )
    assert found.quality.filter(pl.col("column") == "x").height == 6
    assert not found.anomalies.is_empty()
    assert found.findings.filter(pl.col("method") == "isolation_forest")["segment"].null_count() == 6


def test_a_segment_that_the_current_rows_lack_is_named() -> None:
    """The column has to be in both; a value that nobody has any more is left out."""
    without = to_dataset(CURRENT.drop("land"), ColumnOptions.of("t"), "rows")
    with pytest.raises(BaselineError, match="--segment country: the current files have no such column"):
        analyze(_data(REFERENCE), without, [DAY], DetectConfig(), segments=["country"])
    german = _data(CURRENT.filter(pl.col("land") == "DE"))
    found = analyze(_data(REFERENCE), german, [DAY], DetectConfig(), segments=["country"])
    assert found.findings["segment"].unique(maintain_order=True).to_list() == [None, "country=DE"]


def test_the_command_shows_each_segment(run: Run, tmp_path: Path) -> None:
    """A table for each, or the label beside each finding."""
    before, after = tmp_path / "before.parquet", tmp_path / "after.parquet"
    REFERENCE.write_parquet(before)
    CURRENT.write_parquet(after)
    files = ("analyze", "--reference", before, "--current", after, "--timestamp", "t", "--window", "24h")
    ran = run(*files, "--segment", "land=country", "--segment-values", "2")
    assert ran.code == 0
    assert "windows of 24h, country=FR" in ran.out
    out = tmp_path / "found.parquet"
    assert run(*files, "--segment", "land=country", "--format", "parquet", "--out", out).code == 0
    assert pl.read_parquet(out)["segment"].n_unique() == 4
    assert "land" not in pl.read_parquet(out)["column"].to_list()
