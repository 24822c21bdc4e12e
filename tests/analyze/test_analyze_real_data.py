"""`analyze` on real data: NannyML's published values, and a year of flights."""

import functools
import json
from pathlib import Path

import polars as pl
import pytest

from driftmeter.analyze import analyze
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.baseline.edges import FINE_QUANTILES
from driftmeter.baseline.files import read_datasets
from driftmeter.detect.config import DetectConfig
from driftmeter.methods import DECIDING
from driftmeter.model.windows import parse_window

ORACLES = Path(__file__).resolve().parents[1] / "oracles"
PUBLISHED = json.loads((ORACLES / "nannyml_car_loan.json").read_text())["values"]
METHOD_OF = {
    "jensen_shannon": "jensen_shannon_nannyml",
    "hellinger": "hellinger_nannyml",
    "chi2": "chi_square",
    "l_infinity": "l_infinity",
    "kolmogorov_smirnov": "kolmogorov_smirnov",
}
FLIGHTS = Path(__file__).resolve().parents[2] / "service" / "driftmeter" / "demo" / "flights.parquet"
FEATURES = (
    "carrier", "origin", "distance", "hour", "weekday", "temp", "humid", "wind_speed", "precip", "pressure", "visib",
    "plane_age", "seats",
)  # fmt: skip


@functools.cache
def car_loan() -> pl.DataFrame:
    """Findings of the car-loan data set in ten windows of 5,000 rows."""
    options = ColumnOptions.of("timestamp", ["y_pred"], ["y_pred_proba"], ["repaid"], ["id"])
    paths = [[ORACLES / f"synthetic_car_loan_{part}.parquet"] for part in ("reference", "analysis")]
    reference, current = read_datasets(paths, options)
    return analyze(reference, current, [parse_window("5000rows")], DetectConfig()).findings


@pytest.mark.parametrize(("column", "theirs"), [(c, m) for c, methods in PUBLISHED.items() for m in methods])
def test_car_loan_agrees_with_nannyml(column: str, theirs: str) -> None:
    """All ten windows of each published column and method, to 1e-9; Kolmogorov-Smirnov within its bound."""
    ours = car_loan().filter(column=column, method=METHOD_OF[theirs])["value"].to_list()
    published = PUBLISHED[column][theirs]["value"]
    assert len(ours) == len(published) == 10
    if theirs == "kolmogorov_smirnov":
        # Theirs is of 10,000 equal-width bins, which is up to 2e-4 off; ours misses at most what is in one fine bin.
        for value, other in zip(ours, published, strict=True):
            assert value - 2e-4 <= other <= value + 1 / FINE_QUANTILES + 2e-4
    elif theirs == "chi2":
        assert ours == pytest.approx(published, rel=1e-9)
    else:
        assert ours == pytest.approx(published, abs=1e-9)


def test_car_loan_has_ten_windows_of_every_column() -> None:
    """Features, prediction and probability are there, all windows whole; labels and ignored columns are not."""
    findings = car_loan().filter(method=DECIDING)
    assert findings.group_by("column").len()["len"].unique().to_list() == [10]
    assert findings["rows"].min() == findings["rows"].max() == 5000
    roles = dict(findings.select("column", "role").unique().rows())
    assert (roles["y_pred"], roles["y_pred_proba"], roles["car_value"]) == ("prediction", "probability", "feature")
    assert not {"id", "repaid", "timestamp"} & roles.keys()


@functools.cache
def flights() -> pl.DataFrame:
    """Verdicts of the days from March on, against January and February."""
    rows = pl.read_parquet(FLIGHTS).select("scheduled", *FEATURES)
    known = pl.col("scheduled") < pl.datetime(2013, 3, 1, time_zone="UTC")
    options = ColumnOptions("scheduled")
    before, after = (to_dataset(rows.filter(part), options, "flights") for part in (known, ~known))
    findings = analyze(before, after, [parse_window("24h")], DetectConfig()).findings.filter(method=DECIDING)
    return findings.with_columns(month=pl.col("window_start").dt.month(), year=pl.col("window_start").dt.year())


def drifted_days(column: str, *months: int) -> tuple[int, int]:
    """Days of 2013 on which a column drifted, and days judged."""
    days = flights().filter(pl.col("column") == column, pl.col("year") == 2013, pl.col("month").is_in(months))
    return int(days["detected"].sum()), int(days["detected"].count())


def drifted_dates(column: str) -> set[str]:
    """Days of 2013 on which a column drifted, as month and day."""
    days = flights().filter(pl.col("column") == column, pl.col("year") == 2013, pl.col("detected"))
    return set(days["window_start"].dt.strftime("%m-%d"))


def test_temperature_drifts_with_the_summer() -> None:
    """No day of March, every day from June to September, in December only after its record of 22 °C on the 22nd."""
    assert drifted_days("temp", 3) == (0, 31)
    assert drifted_days("temp", 6, 7, 8, 9) == (122, 122)
    assert {day for day in drifted_dates("temp") if day > "12"} == {"12-23", "12-24", "12-25"}
    assert drifted_days("temp", 12)[1] >= 30  # The last day's weather is not recorded.
    april, may, october = (drifted_days("temp", month)[0] for month in (4, 5, 10))
    assert april < may
    assert may > 15
    assert october > 10


@pytest.mark.parametrize("column", ["hour", "weekday", "carrier", "origin"])
def test_schedules_do_not_drift(column: str) -> None:
    """A weekday is far from the mix of all weekdays, every week anew: that is no drift."""
    drifted, judged = drifted_days(column, *range(3, 13))
    assert (drifted, judged) == (0, 306)


def test_distance_drifts_when_people_fly_home() -> None:
    """Around the Fourth of July, Labor Day and Christmas, and on one weekend in August; three days are the shortest."""
    drifted, judged = drifted_days("distance", *range(3, 13))
    assert judged == 306
    holidays = {f"12-{day}" for day in range(22, 32)} | {"07-06", "07-07", "07-08", "09-01", "09-02", "09-03"}
    assert drifted_dates("distance") <= holidays | {"08-18", "08-19", "08-20"}
    assert drifted >= 10
