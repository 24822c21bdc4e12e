"""NannyML's car-loan data travels as spans through the service, and its published values come out in Prometheus."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from components import ROOT, Prometheus, require, run_prometheus, wait_until
from methods.method_bins import published_values
from service_process import assert_ledger_holds, driftmeter, run_service
from spans import identity, requests_of, send

ORACLES = ROOT / "tests" / "oracles"
MODEL = "car-loan"
CHUNKS = 10
NOT_COLUMNS = ("id", "timestamp", "repaid")
METHOD_OF = {
    "jensen_shannon": "jensen_shannon_nannyml",
    "hellinger": "hellinger_nannyml",
    "chi2": "chi_square",
    "l_infinity": "l_infinity",
    "kolmogorov_smirnov": "kolmogorov_smirnov",
}
"""NannyML's name of a method: ours."""

PUBLISHED = [(column, method) for column, methods in published_values().items() for method in methods]


def as_attributes(rows: pl.DataFrame) -> pl.DataFrame:
    """Columns by the keys that their values have on a span."""
    roles = {"y_pred": "ml.prediction.y_pred", "y_pred_proba": "ml.probability.y_pred_proba"}
    columns = [name for name in rows.columns if name not in NOT_COLUMNS]
    return rows.select(pl.col(name).alias(roles.get(name, f"ml.feature.{name}")) for name in columns)


def ends_ns(rows: pl.DataFrame) -> list[int]:
    """Times of the rows."""
    return rows["timestamp"].str.to_datetime(time_unit="ns", time_zone="UTC").dt.epoch("ns").to_list()


def build_baseline(directory: Path) -> Path:
    """The baseline of the reference set, by the command that users run."""
    out = directory / "baseline.parquet"
    done = driftmeter(
        "baseline", "build", "--data", ORACLES / "synthetic_car_loan_reference.parquet", "--model", MODEL,
        "--timestamp", "timestamp", "--prediction", "y_pred", "--probability", "y_pred_proba", "--label", "repaid",
        "--ignore", "id", "--window", "5000rows", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def statistics(prometheus: Prometheus, at: float) -> dict[tuple[str, str], list[float]]:
    """Each column's and method's values, in the order of their windows."""
    found: dict[tuple[str, str], list[float]] = {}
    for subject in ("feature", "prediction"):
        for series in prometheus.query(f"ml_{subject}_drift_statistic[400d]", at):
            column = series.labels.get("feature") or series.labels["output"]
            found[column, series.labels["method"]] = [value for _, value in series.samples]
    return found


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], list[float]]:
    """What Prometheus holds after the analysis set went through the service."""
    require("prometheus")
    directory = tmp_path_factory.mktemp("car-loan")
    analysis = pl.read_parquet(ORACLES / "synthetic_car_loan_analysis.parquet")
    times = ends_ns(analysis)
    with run_prometheus(directory) as prometheus:
        config: dict[str, Any] = {
            "window": {"lengths": ["5000rows"], "clock": "data"},
            "baseline": {"files": [str(build_baseline(directory))]},
            "export": {"remote_write": {"url": prometheus.write_url}},
        }
        with run_service(config, directory) as service:
            # A request ends in the middle of a window, so that windows are cut inside of batches too.
            for answer in send(service.otlp, *requests_of(as_attributes(analysis), times, identity(MODEL), 3_700)):
                assert not answer.HasField("partial_success")
            metrics = service.metrics()
            assert metrics.total("driftmeter_rows_total", outcome="counted") == analysis.height
            assert_ledger_holds(metrics)
            service.stop()
        after = max(times) / 1e9 + 60
        wait_until("the last window is stored", lambda: bool(statistics(prometheus, after)))
        return statistics(prometheus, after)


@pytest.mark.parametrize(("column", "method"), PUBLISHED, ids=str)
def test_agrees_with_nannyml(column: str, method: str, travelled: dict[tuple[str, str], list[float]]) -> None:
    """All ten chunks of each published column and method agree to 1e-9, chi-square relative, KS within the bounds."""
    theirs = published_values()[column][method]["value"]
    ours = travelled[column, METHOD_OF[method]]
    assert len(ours) == len(theirs) == CHUNKS
    if method == "kolmogorov_smirnov":
        # NannyML's own is of 10,000 equal-width bins, up to 2e-4 off; ours is too low by at most one quantile bin.
        for mine, published in zip(ours, theirs, strict=True):
            assert mine - 2e-4 <= published <= mine + 1 / 1_024 + 2e-4
    elif method == "chi2":
        assert ours == pytest.approx(theirs, rel=1e-9)
    else:
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_every_method_is_compared() -> None:
    """The published values are of all five methods."""
    assert {method for _, method in PUBLISHED} == METHOD_OF.keys()
