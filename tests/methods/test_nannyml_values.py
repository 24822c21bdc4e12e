"""The methods reproduce what NannyML publishes for its own data, from bins that numpy makes here."""

from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from scipy.stats import chi2_contingency

from methods.method_bins import ORACLES, doane_bins, fine_bins, number, published_values, pvalue, value_bins

CHUNK_ROWS = 5000
CATEGORICAL = ("salary_range", "repaid_loan_on_prev_car")
METHOD_OF = {
    "jensen_shannon": "jensen_shannon_nannyml",
    "hellinger": "hellinger_nannyml",
    "kolmogorov_smirnov": "kolmogorov_smirnov",
    "chi2": "chi_square",
    "l_infinity": "l_infinity",
}
"""NannyML's name of a method: ours."""

PUBLISHED = [(column, method) for column, methods in published_values().items() for method in methods]


@cache
def _column(name: str) -> tuple[npt.NDArray[np.generic], list[npt.NDArray[np.generic]]]:
    """The reference's values of a column, and the analysis set's in chunks."""
    reference, analysis = (
        pl.read_parquet(ORACLES / f"synthetic_car_loan_{part}.parquet", columns=[name])[name].to_numpy()
        for part in ("reference", "analysis")
    )
    return reference, np.split(analysis, range(CHUNK_ROWS, len(analysis), CHUNK_ROWS))


def _discrete(reference: npt.NDArray[np.generic]) -> bool:
    distinct = len(np.unique(reference))
    return distinct <= 50 and distinct <= 0.1 * len(reference)


def _bins(column: str, method: str, chunk: int) -> pl.DataFrame:
    reference, chunks = _column(column)
    if method == "kolmogorov_smirnov":
        return fine_bins(reference.astype(np.float64), chunks[chunk].astype(np.float64))
    if column in CATEGORICAL or _discrete(reference):
        return value_bins(reference, chunks[chunk])
    return doane_bins(reference.astype(np.float64), chunks[chunk].astype(np.float64))


@pytest.mark.parametrize(("column", "method"), PUBLISHED, ids=str)
def test_agrees_with_nannyml(column: str, method: str) -> None:
    """All ten chunks of every published column and method agree: to 1e-9, chi-square relative, KS within its bound."""
    theirs = published_values()[column][method]["value"]
    assert len(theirs) == 10
    for chunk, published in enumerate(theirs):
        bins = _bins(column, method, chunk)
        ours = number(METHOD_OF[method], bins)
        if method == "kolmogorov_smirnov":
            # 2e-4: NannyML's own statistic is of 10,000 equal-width bins.
            error = number(METHOD_OF[method], bins, "error")
            assert ours - 2e-4 <= published <= ours + error + 2e-4
        elif method == "chi2":
            assert ours == pytest.approx(published, rel=1e-9)
        else:
            assert ours == pytest.approx(published, abs=1e-9)


@pytest.mark.parametrize("column", CATEGORICAL)
def test_chi_square_pvalues_of_real_columns_are_scipys(column: str) -> None:
    """On real columns the p-value equals scipy's, from nearly 1 down to 1e-90."""
    reference, chunks = _column(column)
    for chunk in range(len(chunks)):
        bins = value_bins(reference, chunks[chunk])
        table = bins.select("expected", "observed").filter(pl.sum_horizontal(pl.all()) > 0).to_numpy().T
        assert pvalue("chi_square", bins) == pytest.approx(chi2_contingency(table).pvalue, rel=1e-6)


def test_published_values_are_all_there() -> None:
    """The file of published values holds every method that can be compared with NannyML."""
    assert {method for _, method in PUBLISHED} == set(METHOD_OF)
    assert len(PUBLISHED) == 14
