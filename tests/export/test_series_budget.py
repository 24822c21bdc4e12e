"""The series budget: what says most is kept whole, the rest is counted."""

import polars as pl

from driftmeter.export.budget import within_budget
from driftmeter.export.metrics import FAMILIES
from driftmeter.export.points import POINTS_SCHEMA, findings_to_points, quality_to_points, windows_to_points
from export_samples import finding, findings, model_finding, model_findings, quality, series_of

COLUMNS = [f"f{number:03}" for number in range(100)]


def points() -> pl.DataFrame:
    """A hundred features with scores that grow with their number, and of which the seventh has drifted."""
    rows = [finding(column=name, value=number / 100, detected=number == 7) for number, name in enumerate(COLUMNS)]
    of_columns = [{"column": name, "role": "feature", "rows": 9, "missing": 1, "mean": 2.0} for name in COLUMNS]
    return pl.concat(
        [
            findings_to_points(findings(rows), 7),
            windows_to_points(model_findings([model_finding()]), 7),
            quality_to_points(quality(of_columns), 7),
        ]
    )


def test_points_within_the_budget_are_left_as_they_are() -> None:
    """Not one point more or less, in their order."""
    table = points()
    kept, withheld = within_budget(table, table.height)
    assert kept.equals(table)
    assert withheld == 0


def test_columns_that_say_most_keep_all_of_their_series() -> None:
    """The one that drifted and those with the highest scores; the model's own stay; the others are counted."""
    table = points()
    each = table.filter(feature="f000").height
    own = table.filter(pl.col("feature") == "").height
    kept, withheld = within_budget(table, own + 10 * each + each // 2)
    assert withheld == 90 * each
    names = kept["feature"].unique().sort().to_list()
    assert names == ["", "f007", *COLUMNS[91:]]
    assert kept.filter(pl.col("feature") != "").height == 10 * each
    for name in names[1:]:
        assert kept.filter(feature=name).equals(table.filter(feature=name))
    said = {row["metric"]: row["value"] for row in kept.filter(feature="").iter_rows(named=True)}
    assert said["ml_model_withheld_columns"] == 90
    assert said["ml_model_withheld_score_max"] == 0.9
    assert said.keys() >= set(table.filter(feature="")["metric"])
    assert kept.schema == POINTS_SCHEMA
    assert len(series_of(kept)) == kept.height
    assert set(kept["metric"]) <= set(FAMILIES["metric"])


def test_predictions_come_before_features() -> None:
    """What the model answers is never given up for an input, however little it moved."""
    late = [finding(column="late", role="prediction", value=0.0, detected=False)]
    table = pl.concat([points(), findings_to_points(findings(late), 7)])
    assert "late" in within_budget(table, 50)[0]["output"].to_list()


def test_the_order_of_points_does_not_matter() -> None:
    """Which columns stay depends on what they say alone."""
    table = points()
    shuffled = table.sample(fraction=1, shuffle=True, seed=3)
    assert series_of(within_budget(shuffled, 200)[0]) == series_of(within_budget(table, 200)[0])


def test_a_segment_without_room_says_nothing() -> None:
    """A model's own numbers stay whatever the budget; of a segment they go too, and are counted."""
    table = points()
    own = table.filter(pl.col("feature") == "").height
    kept, _ = within_budget(table, 1)
    assert kept.filter(~pl.col("metric").str.contains("withheld")).height == own
    segment = table.with_columns(segment=pl.lit("country=DE"))
    assert within_budget(segment, 1)[0].is_empty()
    assert within_budget(segment, 1)[1] == table.height
