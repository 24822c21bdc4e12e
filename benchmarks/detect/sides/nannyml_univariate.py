"""NannyML's `UnivariateDriftCalculator`, ten chunks as it comes: with its default methods, or with all it has."""

import sys
import warnings

import nannyml  # type: ignore[import-not-found]
import pandas as pd  # type: ignore[import-untyped]

from benchmarks.detect.sides.answering import answer

CONTINUOUS = ["jensen_shannon", "kolmogorov_smirnov", "wasserstein", "hellinger"]
CATEGORICAL = ["jensen_shannon", "chi2", "l_infinity", "hellinger"]
METHODS = {"all": {"continuous_methods": CONTINUOUS, "categorical_methods": CATEGORICAL}, "default": {}}


def compare(reference: str, current: str) -> int:
    """Both files from the disk to the table of results."""
    before, now = pd.read_parquet(reference), pd.read_parquet(current)
    columns = [name for name in before.columns if name != "time"]
    calculator = nannyml.UnivariateDriftCalculator(
        column_names=columns, timestamp_column_name="time", **METHODS[sys.argv[3]]
    )
    calculator.fit(before)
    return int(calculator.calculate(now).to_df().shape[0])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    answer(compare)
