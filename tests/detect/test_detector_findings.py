"""Findings of a model's windows: numbers, noise, verdicts, quality."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions, to_dataset
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector, Evaluation
from driftmeter.detect.reference import FixedReference
from driftmeter.detect.units import DECIDING_KEYS
from driftmeter.methods import DECIDING, METHODS
from driftmeter.methods.ratios import RATIOS
from driftmeter.methods.sampled import SAMPLED
from driftmeter.methods.sequential import SEQUENTIAL
from driftmeter.methods.spec import Scale
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts
from driftmeter.model.findings import FINDINGS_SCHEMA
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import DAY_NS, KEY, Floats, predictions
from stored_states import again

DAY = parse_window("24h")
Values = Mapping[str, Sequence[float | str | None] | Floats]


@functools.cache
def baseline() -> Baseline:
    """Forty days of five hundred rows: numbers with a daily level, colours, a constant, a class, its probability."""
    random = np.random.default_rng(11)
    rows = 40 * 500
    days = np.repeat(np.arange(40), 500)
    frame = pl.DataFrame(
        {
            "time": pl.Series(days * DAY_NS + 1).cast(pl.Datetime("ns")),
            "x": random.normal(size=rows) + random.normal(scale=0.2, size=40)[days],
            "color": random.choice(["red", "green", "blue"], rows, p=[0.6, 0.3, 0.1]),
            "constant": np.ones(rows),
            "answer": random.choice(["no", "yes"], rows),
            "p": random.random(rows),
        }
    )
    data = to_dataset(frame, ColumnOptions.of("time", ["answer"], ["p=yes"]), "rows")
    return build_baseline(data, "model", "1", [DAY])


def window_of(values: Values, index: int = 0, revision: int = 0) -> WindowCounts:
    """A day's window with these values."""
    layout = baseline().layout
    rows = len(next(iter(values.values())))
    batch = predictions(np.zeros(rows, np.int64), values)
    counts = Counts.zeros(layout)
    fold(layout, batch.rows, np.zeros(rows, np.int32), counts, batch.mismatches)
    return WindowCounts(DAY, index, index * DAY_NS, (index + 1) * DAY_NS, revision, counts)


def usual(rows: int = 500, seed: int = 0) -> dict[str, Sequence[float | str | None] | Floats]:
    """Undrifted values of all columns."""
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=rows),
        "color": random.choice(["red", "green", "blue"], rows, p=[0.6, 0.3, 0.1]).tolist(),
        "constant": np.ones(rows),
        "prediction.answer": random.choice(["no", "yes"], rows).tolist(),
        "probability.yes": random.random(rows),
    }


def evaluate(*windows: WindowCounts, config: DetectConfig | None = None, of: Baseline | None = None) -> Evaluation:
    """A fresh detector's view of some windows."""
    anchor = of or baseline()
    return Detector(KEY, anchor, [FixedReference(anchor)], config or DetectConfig()).evaluate(windows)


def deciding(evaluation: Evaluation, column: str = "x") -> list[dict[str, object]]:
    """The deciding method's findings of a column."""
    return evaluation.findings.filter(pl.col("method") == DECIDING, pl.col("column") == column).to_dicts()


def test_one_finding_per_window_column_and_method_that_applies() -> None:
    """All methods that apply, ordered by window, column and method, under the schema, with all names."""
    everything = evaluate(window_of(usual(), 0), window_of(usual(seed=1), 1)).findings
    assert everything.schema == FINDINGS_SCHEMA
    on_samples = pl.col("method").is_in(list(SAMPLED))
    findings = everything.filter(~on_samples)
    assert everything.filter(on_samples).select("column", "role", "method").rows() == [
        ("", "model", key) for _ in range(2) for key in SAMPLED
    ]
    numeric, categorical = (
        [
            *(key for key, spec in METHODS.items() if getattr(spec, kind)),
            *SEQUENTIAL,
            *(key for key, spec in RATIOS.items() if getattr(spec, kind)),
        ]
        for kind in ("numeric", "categorical")
    )
    one_window = [
        *(("x", "feature", key) for key in numeric),
        *(("color", "feature", key) for key in categorical),
        *(("constant", "feature", key) for key in numeric),
        *(("answer", "prediction", key) for key in categorical),
        *(("yes", "probability", key) for key in numeric),
        ("", "model", "rows"),
    ]
    findings = findings.filter((pl.col("role") != "model") | (pl.col("method") == "rows"))  # Samples are tested apart.
    assert findings.select("column", "role", "method").rows() == one_window * 2
    assert findings["window_index"].to_list() == [0] * len(one_window) + [1] * len(one_window)
    assert findings.select("model", "version", "stage", "segment", "baseline", "window", "rows").unique().rows() == [
        ("model", "1", "", "", "file", "24h", 500)
    ]
    young = pl.col("method") == "adwin"  # Two windows are too few to compare older with newer ones.
    assert findings.filter(young)["value"].null_count() == findings.filter(young).height
    nameless = findings.filter(pl.col("value").is_null(), ~young).select("column", "method").unique().rows()
    assert nameless == [("constant", "wasserstein_normalised")]


def test_noise_floor_and_effect_follow_each_methods_scale() -> None:
    """With x = a(1/n + 1/N): √x for squared statistics, x for linear ones, n·x for those per row; effect likewise."""
    values = usual() | {"x": np.append(np.random.default_rng(3).normal(0.5, 1.5, 499), np.nan)}
    findings = evaluate(window_of(values)).findings
    columns = {each.column.name: each for each in baseline().columns}
    seen = set()
    for row in findings.filter(pl.col("method").is_in(list(METHODS)), pl.col("value").is_not_null()).to_dicts():
        column, spec = columns[row["column"]], METHODS[row["method"]]
        n, reference = row["rows"], int(column.counts.sum())
        assert n == (499 if row["column"] == "x" else 500)
        x = column.noise[row["method"]] * (1 / n + 1 / reference)
        floor, effect = {
            Scale.SQUARED: (math.sqrt(x), math.sqrt(max(0, row["value"] ** 2 - x))),
            Scale.LINEAR: (x, max(0, row["value"] - x)),
            Scale.PER_ROW: (n * x, max(0, row["value"] - n * x)),
        }[spec.scale]
        assert row["noise_floor"] == pytest.approx(floor, rel=1e-9, abs=1e-12)
        assert row["effect"] == pytest.approx(effect, rel=1e-6, abs=1e-12)
        seen.add(spec.scale)
    assert seen == set(Scale)


def test_only_what_decides_has_a_verdict() -> None:
    """Elsewhere `detected` is null and the reason says that the method informs."""
    findings = evaluate(window_of(usual())).findings
    decides = pl.col("method").is_in(DECIDING_KEYS)
    informing = findings.filter(~decides, pl.col("role") != "model")  # Samples of rows are tested apart.
    assert informing["detected"].null_count() == informing.height
    assert informing["reason"].unique().to_list() == ["informing"]
    assert informing["null_source"].null_count() == informing.height
    judged = findings.filter(decides)
    assert set(judged["method"]) == set(DECIDING_KEYS)
    assert judged["detected"].to_list() == [False] * judged.height
    assert judged["reason"].null_count() == judged.height
    assert judged["null_source"].unique().to_list() == ["own"]


def test_two_surprising_days_are_drift_and_one_is_not() -> None:
    """A shift is called at its second day of three, for its column alone, and lasts while one of three is shifted."""
    shifted = usual(seed=2) | {"x": np.random.default_rng(4).normal(2, 1, 500)}
    days = [usual(), shifted, shifted, usual(seed=5), usual(seed=6), shifted, usual(seed=7)]
    evaluation = evaluate(*(window_of(values, i) for i, values in enumerate(days)))
    assert [each["detected"] for each in deciding(evaluation)] == [False, False, True, True, True, True, True]
    assert not any(each["detected"] for each in deciding(evaluation, "color"))


def test_verdicts_are_the_same_one_by_one_and_together() -> None:
    """Windows evaluated apart by one detector give what they give at once."""
    shifted = usual(seed=2) | {"x": np.random.default_rng(4).normal(2, 1, 500)}
    windows = [window_of(values, i) for i, values in enumerate([shifted, usual(), shifted, shifted])]
    detector = Detector(KEY, baseline(), [FixedReference(baseline())], DetectConfig())
    apart = pl.concat([detector.evaluate([window]).findings for window in windows])
    order = ("window_index", "column", "role", "method")
    assert apart.sort(order).equals(evaluate(*windows).findings.sort(order))


def test_revision_changes_values_and_not_the_verdict() -> None:
    """A revision carries new numbers, its own number and the verdict that was made."""
    shifted = usual(seed=2) | {"x": np.random.default_rng(4).normal(2, 1, 500)}
    detector = Detector(KEY, baseline(), [FixedReference(baseline())], DetectConfig())
    detector.evaluate([window_of(shifted, 0)])
    first = deciding(detector.evaluate([window_of(shifted, 1)]))[0]
    again = deciding(detector.evaluate([window_of(usual(), 1, revision=1)]))[0]
    assert (first["detected"], again["detected"]) == (True, True)
    assert (first["revision"], again["revision"]) == (0, 1)
    assert first["value"] != again["value"]


def test_large_but_usual_and_surprising_but_small_are_no_drift() -> None:
    """Both the level and the smallest effect must be passed."""
    shifted = usual(seed=2) | {"x": np.random.default_rng(4).normal(2, 1, 500)}
    windows = [window_of(shifted, 0), window_of(shifted, 1)]
    rows = deciding(evaluate(*windows))
    assert rows[1]["detected"] is True
    larger = {"jensen_shannon": 1.0, "wasserstein_normalised": 10.0}
    assert deciding(evaluate(*windows, config=DetectConfig(min_effect=larger)))[1]["detected"] is False
    slightly = usual(seed=2) | {"x": np.random.default_rng(4).normal(0.3, 1, 500)}
    evaluation = evaluate(window_of(slightly, 0), window_of(slightly, 1), config=DetectConfig(min_effect={DECIDING: 0}))
    assert deciding(evaluation)[1]["detected"] is False
    assert evaluation.model["level"][1] < float(str(deciding(evaluation)[1]["pvalue"])) < 1


def test_too_few_rows_are_insufficient() -> None:
    """Rows with a value are what counts: 99 of 500 are too few for one column, and enough for the others."""
    holes: list[float | None] = [1.0 if i < 99 else None for i in range(500)]
    evaluation = evaluate(window_of(usual() | {"x": holes}))
    row = deciding(evaluation)[0]
    assert (row["rows"], row["detected"], row["reason"], row["null_source"]) == (99, None, "insufficient", "own")
    assert row["value"] is not None
    assert deciding(evaluation, "color")[0]["detected"] is False


def test_window_without_the_column_has_no_numbers() -> None:
    """Nothing to compare is null everywhere, without a warning, the constant column included."""
    values = {"color": ["red"] * 200}
    findings = evaluate(window_of(values)).findings.filter(pl.col("column").is_in(["x", "constant"]))
    methods = findings.filter(pl.col("method").is_in(list(METHODS)))
    assert methods["rows"].unique().to_list() == [0]
    for name in ("value", "effect", "pvalue"):
        assert methods[name].null_count() == methods.height, name
    assert findings.filter(pl.col("method") == DECIDING)["reason"].to_list() == ["insufficient"] * 2
    missing = findings.filter(pl.col("method") == "missing_ratio")
    assert missing["rows"].to_list() == [200, 200]
    assert missing["value"].to_list() == [1, 1]


def test_empty_window_is_evaluated() -> None:
    """A window whose rows have no value at all gives nulls for every column."""
    findings = evaluate(window_of({"other": [1.0]})).findings
    scores = findings.filter(pl.col("method").is_in(list(METHODS)))
    assert scores["value"].null_count() == scores.height
    assert not findings.select(pl.col("value", "noise_floor", "effect", "pvalue").is_nan().any()).row(0).count(True)


def test_constant_column_that_moves_is_drift() -> None:
    """After a baseline of one single value, any other value is the greatest surprise."""
    moved = usual() | {"constant": np.full(500, 2.0)}
    rows = deciding(evaluate(window_of(moved, 0), window_of(moved, 1)), "constant")
    assert rows[0]["pvalue"] == 0
    assert rows[0]["value"] == pytest.approx(1)
    assert [each["detected"] for each in rows] == [False, True]


def test_learned_baseline_gives_scores_without_verdict() -> None:
    """Scores and noise are there; verdict and surprise are not, and the reason is said."""
    learned = replace(baseline().labelled("model", "1", "learned"), chunks={}, windows=())
    row = deciding(evaluate(window_of(usual()), of=learned))[0]
    assert (row["baseline"], row["detected"], row["reason"], row["pvalue"]) == ("learned", None, "provisional", None)
    assert row["value"] is not None
    assert row["noise_floor"] is not None


def test_no_number_leaves_as_infinity_or_nan() -> None:
    """Values as large as numbers get overflow some methods: those are null, not infinite."""
    huge = usual() | {"x": np.full(500, 1e308), "probability.yes": np.full(500, -1e308)}
    findings = evaluate(window_of(huge)).findings
    for name in ("value", "noise_floor", "effect", "pvalue"):
        assert findings[name].drop_nulls().is_finite().all(), name
    assert deciding(evaluate(window_of(huge)))[0]["value"] == pytest.approx(1)


def test_quality_counts_every_row() -> None:
    """Missing, mismatched, non-finite, out of range and unseen rows of each column, and numpy's moments."""
    batch: Values = {
        "x": np.concatenate([np.arange(5.0), [100, 200, np.nan, np.inf, -100]]),
        "color": ["red", "new", "newer", None, *["blue"] * 6],
    }
    window = window_of(batch)
    layout = baseline().layout
    mixed = predictions(np.zeros(2, np.int64), {"x": [None, None], "color": ["red", "red"]}, {"x": [1]})
    fold(layout, mixed.rows, np.zeros(2, np.int32), window.counts.dense(layout), mixed.mismatches)
    rows = {row["column"]: row for row in evaluate(window).quality.to_dicts()}
    x, color, constant = rows["x"], rows["color"], rows["constant"]
    assert (x["rows"], x["missing"], x["type_mismatch"], x["non_finite"]) == (12, 2, 1, 2)
    above = int((np.array([0, 1, 2, 3, 4, 100, 200]) > baseline().columns[0].maximum).sum())
    assert (x["out_of_range"], x["unseen"]) == (above + 1, None)
    assert (color["rows"], color["missing"], color["out_of_range"], color["unseen"]) == (12, 1, None, 2)
    finite = np.array([0, 1, 2, 3, 4, 100, 200, -100])
    assert x["mean"] == pytest.approx(finite.mean())
    assert x["stddev"] == pytest.approx(finite.std())
    assert (x["min"], x["max"]) == (-100, 200)
    assert [color[name] for name in ("mean", "stddev", "min", "max")] == [None] * 4
    assert (constant["missing"], constant["mean"], constant["min"]) == (12, None, None)


def test_moments_that_overflow_are_null() -> None:
    """Infinite sums say nothing and leave as null; smallest and largest are what they are."""
    quality = evaluate(window_of({"x": np.array([1.7e308, 1.7e308, -1.7e308])})).quality
    row = quality.filter(pl.col("column") == "x").to_dicts()[0]
    assert (row["stddev"], row["min"], row["max"]) == (None, -1.7e308, 1.7e308)


def test_moments_far_from_zero_keep_their_digits() -> None:
    """Sums are taken about the reference mean, so a large offset costs no precision."""
    times = pl.Series(np.arange(200)).cast(pl.Datetime("ns"))
    far = 1e9 + np.random.default_rng(8).normal(size=200)
    data = to_dataset(pl.DataFrame({"t": times, "x": far}), ColumnOptions("t"), "rows")
    built = build_baseline(data, "m", "", [])
    counts = Counts.zeros(built.layout)
    fold(built.layout, data.rows, np.zeros(200, np.int32), counts)
    quality = evaluate(WindowCounts(DAY, 0, 0, DAY_NS, 0, counts), of=built).quality
    assert quality["stddev"][0] == pytest.approx(far.std(), rel=1e-6)


def test_classes_are_those_of_categorical_predictions() -> None:
    """Rows per class of the baseline, for predictions only."""
    values = usual() | {"prediction.answer": ["yes"] * 300 + ["no"] * 100 + ["perhaps"] * 100}
    classes = evaluate(window_of(values, 3)).classes
    assert {row["class"]: row["rows"] for row in classes.to_dicts()} == {"yes": 300, "no": 100}
    assert classes["column"].unique().to_list() == ["answer"]
    assert classes["window_end"].dt.epoch("ns").unique().to_list() == [4 * DAY_NS]


def test_model_without_categorical_predictions_has_no_classes() -> None:
    """The table is empty, with its columns."""
    data = to_dataset(pl.DataFrame({"x": [1.0, 2.0]}), ColumnOptions(), "rows")
    built = build_baseline(data, "m", "", [])
    counts = Counts.zeros(built.layout)
    evaluation = Detector(KEY, built, [FixedReference(built)], DetectConfig()).evaluate(
        [WindowCounts(DAY, 0, 0, DAY_NS, 0, counts)]
    )
    assert evaluation.classes.is_empty()
    assert "class" in evaluation.classes.columns


def test_a_restarted_detector_finds_the_same() -> None:
    """After every window a new detector takes over the state of the one before: no finding differs."""
    undisturbed, disturbed = (Detector(KEY, baseline(), [FixedReference(baseline())], DetectConfig()) for _ in range(2))
    for index in range(6):
        shift = 0.0 if index % 3 else 4.0
        window = window_of({"x": np.random.default_rng(index).normal(shift, size=500)}, index // 2, index % 2)
        fresh = Detector(KEY, baseline(), [FixedReference(baseline())], DetectConfig())
        fresh.restore(again(disturbed.state()))
        disturbed = fresh
        expected, actual = undisturbed.evaluate([window]), disturbed.evaluate([window])
        assert expected.findings.equals(actual.findings)
        assert expected.quality.equals(actual.quality)
