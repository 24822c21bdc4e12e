"""NannyML's default univariate drift by window. Run by the Python of NannyML's own environment, not by ours.

    python nannyml_scores.py REFERENCE.parquet CURRENT.parquet OUT.json ROWS

CURRENT has a column `window`; its rows are in the order of windows, ROWS to each, and its other columns are compared
with the reference's, which is cut into chunks of as many rows. OUT holds a list of objects: window, column, score
(standard deviations of the reference's chunks beyond their mean, divided by 3, so that above 1 is an alert) and method.
"""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
warnings.filterwarnings("ignore")

import nannyml  # noqa: E402 - after the switch above.
import pandas as pd  # noqa: E402

DEVIATIONS = 3


def main() -> None:
    """Entry point."""
    reference, current = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
    names, rows = [name for name in current.columns if name != "window"], int(sys.argv[4])
    calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=rows).fit(reference[names])
    known, result = calculator.result.to_df(), calculator.calculate(current[names]).filter(period="analysis").to_df()
    windows = current["window"].to_numpy()[::rows].tolist()
    found = []
    for name in names:
        of_reference = known[name]["jensen_shannon"]["value"]
        mean, spread = float(of_reference.mean()), float(of_reference.std(ddof=0))
        values = result[name]["jensen_shannon"]["value"].to_numpy()[: len(windows)]
        for window, value in zip(windows, values.tolist(), strict=True):
            score = (value - mean) / (DEVIATIONS * spread) if spread > 0 else 0.0
            found.append({"window": window, "column": name, "score": score, "method": "jensen_shannon"})
    Path(sys.argv[3]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
