"""Evidently's default drift tests by window. Run by the Python of Evidently's own environment, not by ours.

    python evidently_scores.py REFERENCE.parquet CURRENT.parquet OUT.json

CURRENT has a column `window`; every other column of it is compared with the reference's. OUT holds a list of objects:
window, column and score: the distance divided by its threshold, so that 1 and more is drift.

`DataDriftPreset` with all defaults says which test each column gets and at which threshold; it looks at the first
window, and the same tests, called one by one, must agree with it there. They then look at all windows: the preset's
reports take a hundred times as long.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

warnings.filterwarnings("ignore")


def main() -> None:
    """Entry point."""
    reference, current = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
    found = []
    for name in (each for each in current.columns if each != "window"):
        numeric = pd.api.types.is_numeric_dtype(reference[name])
        kind = ColumnType.Numerical if numeric else ColumnType.Categorical
        known = reference[name].dropna()
        parts = {int(window): values.dropna() for window, values in current.groupby("window")[name]}
        method, threshold, expected = _preset(known, parts[min(parts)], numeric=numeric)
        test = get_stattest(known, parts[min(parts)], kind, _NAMES[method])
        for window, values in parts.items():
            distance = float(test(known, values, kind, threshold).drift_score)
            if window == min(parts) and not np.isclose(distance, expected, rtol=1e-6):
                sys.exit(f"{name}: the preset says {expected}, the test itself {distance}")
            found.append({"window": window, "column": name, "score": distance / threshold})
    Path(sys.argv[3]).write_text(json.dumps(found), encoding="utf-8")


_NAMES = {"Wasserstein distance (normed)": "wasserstein", "Jensen-Shannon distance": "jensenshannon"}


def _preset(reference: pd.Series, current: pd.Series, *, numeric: bool) -> tuple[str, float, float]:
    """Test, threshold and distance of one column as the preset has them."""
    definition = DataDefinition(
        numerical_columns=["value"] if numeric else [], categorical_columns=[] if numeric else ["value"]
    )
    known, rows = (
        Dataset.from_pandas(pd.DataFrame({"value": each.to_numpy()}), data_definition=definition)
        for each in (reference, current)
    )
    metrics = Report([DataDriftPreset()]).run(rows, known).dict()["metrics"]
    (metric,) = (each for each in metrics if "column" in each["config"])
    return metric["config"]["method"], float(metric["config"]["threshold"]), float(metric["value"])


if __name__ == "__main__":
    main()
