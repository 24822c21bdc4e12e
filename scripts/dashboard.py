"""Writes the Grafana dashboard: `python scripts/dashboard.py` from the repository's root.

The dashboard is Classic JSON, which file provisioning takes, and is committed; a test checks that it is what this
file writes. Every query a panel asks is a template with Grafana's variables in it; `dashboard_queries` fills them in,
so that tests can ask them of a real Prometheus.
"""

import json
import warnings
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from string import Template
from typing import Any

with warnings.catch_warnings():
    # The library would rather have the newer dashboard format; file provisioning takes this one everywhere.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, table, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models import common
    from grafana_foundation_sdk.models import dashboard as models
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TARGET = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "dashboards" / "driftmeter.json"
"""The committed dashboard."""
RATE_INTERVAL = "2m"
"""What `dashboard_queries` puts for `$__rate_interval`: four times the data source's 30 s, as Grafana does."""

MODEL = 'model="$model", version=~"$version"'
WINDOW = f'{MODEL}, window="$window", segment=""'
SOURCE = common.DataSourceRef(type_val="prometheus", uid="$datasource")

Panel = stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel


def query(expression: str, ref: str = "A", legend: str = "") -> prometheus.Dataquery:
    """A query over the dashboard's time range."""
    return prometheus.Dataquery().datasource(SOURCE).expr(expression).ref_id(ref).legend_format(legend).range()


def instant(expression: str, ref: str, legend: str = "") -> prometheus.Dataquery:
    """A query at the end of the dashboard's time range, as a table."""
    asked = prometheus.Dataquery().datasource(SOURCE).expr(expression).ref_id(ref).legend_format(legend)
    return asked.format(PromQueryFormat.TABLE).instant()


def verdicts() -> list[models.ValueMap | models.RangeMap | models.RegexMap | models.SpecialValueMap]:
    """Words and colours for a verdict: 1, 0 or absent."""
    green, red, grey = "green", "red", "gray"
    absent = models.ValueMappingResult(text="no verdict", color=grey)
    return [
        models.ValueMap(
            options={
                "0": models.ValueMappingResult(text="no drift", color=green, index=0),
                "1": models.ValueMappingResult(text="drifted", color=red, index=1),
            }
        ),
        models.SpecialValueMap(
            options=models.DashboardSpecialValueMapOptions(match=models.SpecialValueMatch.NULL_AND_NAN, result=absent)
        ),
    ]


def variables() -> Iterator[dashboard.DatasourceVariable | dashboard.QueryVariable]:
    """What a reader chooses: data source, model, its version, window length, features."""
    yield dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    choices = [
        ("model", "Model", "label_values(ml_predictions_total, model)"),
        ("version", "Version", 'label_values(ml_predictions_total{model="$model"}, version)'),
        ("window", "Window", f"label_values(ml_feature_drift_score{{{MODEL}}}, window)"),
        ("feature", "Feature", f"label_values(ml_feature_drift_score{{{WINDOW}}}, feature)"),
    ]
    for name, label, asked in choices:
        variable = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(asked)
        variable = variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        if name == "version":
            variable = variable.include_all(True).multi(True).all_value(".*")
        if name == "feature":
            variable = variable.include_all(True).multi(True)
        yield variable.sort(models.VariableSort.ALPHABETICAL_ASC)


def summary_panels() -> Iterator[Panel]:
    """The first row: one number each."""
    yield (
        stat.Panel()
        .title("Verdict")
        .description("Whether any feature or prediction of the model drifted in the newest window.")
        .with_target(query(f"max(ml_model_drift_detected{{{WINDOW}}})"))
        .mappings(verdicts())
        .no_value("no verdict")
        .unit("none")
    )
    yield (
        stat.Panel()
        .title("Drifted features")
        .description("How many features drifted in the newest window. Absent while no feature has a verdict.")
        .with_target(query(f"max(ml_model_drifted_features{{{WINDOW}}})"))
        .unit("short")
    )
    yield (
        stat.Panel()
        .title("Predictions a second")
        .description("Predictions counted, all chosen versions together.")
        .with_target(query(f"sum(rate(ml_predictions_total{{{MODEL}}}[$__rate_interval]))"))
        .unit("reqps")
    )
    yield (
        stat.Panel()
        .title("Newest window ended")
        .description("End of the newest window that was evaluated: what the numbers here describe.")
        .with_target(query(f"1000 * max(ml_window_end_timestamp_seconds{{{WINDOW}}})"))
        .unit("dateTimeFromNow")
    )


def drifted_now() -> table.Panel:
    """One line a feature, the farthest beyond noise first."""
    columns = [
        ("Score", "score"),
        ("Noise floor", "noise_floor"),
        ("Effect", "effect"),
        ("Verdict", "detected"),
    ]
    panel = (
        table.Panel()
        .title("Features now")
        .description(
            "The newest window of each feature. Score: distance from the baseline, 0 to 1. Noise floor: what sampling "
            "alone explains. Effect: what is left beyond it. No verdict: the baseline cannot calibrate one."
        )
        .unit("none")
        .decimals(3)
    )
    renamed = {"feature": "Feature"}
    for ref, (heading, metric) in zip("ABCD", columns, strict=True):
        panel = panel.with_target(instant(f"max by (feature) (ml_feature_drift_{metric}{{{WINDOW}}})", ref))
        renamed[f"Value #{ref}"] = heading
    mappings = [models.DynamicConfigValue(id_val="mappings", value=verdicts())]
    return (
        panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize", options={"excludeByName": {"Time": True}, "renameByName": renamed}
            )
        )
        .with_transformation(
            models.DataTransformerConfig(id_val="sortBy", options={"sort": [{"field": "Effect", "desc": True}]})
        )
        .override_by_name("Verdict", mappings)
    )


def scores(title: str, description: str, metric: str, labels: Sequence[str], selector: str) -> timeseries.Panel:
    """Score as a line over its noise floor as an area, by the labels that name a column."""
    by = ", ".join(labels)
    name = " ".join(f"{{{{{label}}}}}" for label in labels)
    floor = f"max by ({by}) (ml_{metric}_noise_floor{{{selector}}})"
    area = [
        models.DynamicConfigValue(id_val="custom.fillOpacity", value=25),
        models.DynamicConfigValue(id_val="custom.lineWidth", value=0),
        models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": "gray"}),
    ]
    return (
        timeseries.Panel()
        .title(title)
        .description(description)
        .with_target(query(f"max by ({by}) (ml_{metric}_score{{{selector}}})", "A", name))
        .with_target(query(floor, "B", f"{name} noise floor"))
        .override_by_query("B", area)
        .unit("none")
        .min(0)
    )


def lines(title: str, description: str, unit: str, targets: Sequence[tuple[str, str]]) -> timeseries.Panel:
    """Some queries as lines, each with its legend."""
    panel = timeseries.Panel().title(title).description(description).unit(unit)
    for ref, (expression, legend) in zip("ABCD", targets, strict=False):
        panel = panel.with_target(query(expression, ref, legend))
    return panel


def by_feature(metric: str) -> str:
    """A number of the chosen features."""
    return f'max by (feature) (ml_feature_{metric}{{{WINDOW}, feature=~"$feature"}})'


def quality_panels() -> Iterator[timeseries.Panel]:
    """Values that are missing or wrong, and how old and how often repeated they are."""
    yield lines(
        "Missing values",
        "Share of rows without a value, values of the wrong type included.",
        "percentunit",
        [(by_feature("missing_ratio"), "{{feature}}")],
    ).min(0)
    yield lines(
        "Values of the wrong type, NaN or infinite",
        "Shares of rows.",
        "percentunit",
        [
            (by_feature("type_mismatch_ratio"), "{{feature}} wrong type"),
            (by_feature("non_finite_ratio"), "{{feature}} not finite"),
        ],
    ).min(0)
    yield lines(
        "Values that the baseline does not have",
        "Shares of rows beyond the baseline's range, with unknown categories, and with categories too rare to be "
        "counted by themselves (other).",
        "percentunit",
        [
            (by_feature("out_of_range_ratio"), "{{feature}} out of range"),
            (by_feature("unseen_ratio"), "{{feature}} unseen"),
            (by_feature("other_ratio"), "{{feature}} other"),
        ],
    ).min(0)
    yield lines(
        "Age of the newest value",
        "At the window's end; as old as the window is long, at least, for a feature without any value in it.",
        "s",
        [(by_feature("freshness_seconds"), "{{feature}}")],
    ).min(0)
    yield lines(
        "Rows that repeat others, or lack attributes",
        "Shares of the window's rows: equal to another row in all columns; of spans whose sender dropped attributes.",
        "percentunit",
        [
            (f"max by (version) (ml_model_duplicate_rows_ratio{{{WINDOW}}})", "{{version}} repeated"),
            (f"max by (version) (ml_model_incomplete_rows_ratio{{{WINDOW}}})", "{{version}} incomplete"),
        ],
    ).min(0)
    yield lines(
        "Rows of a window",
        "How many rows the newest window holds.",
        "short",
        [(f"max by (version) (ml_model_window_rows{{{WINDOW}}})", "{{version}}")],
    ).min(0)


def quantiles() -> timeseries.Panel:
    """Where the values of a feature lie."""
    asked = f'max by (quantile) (ml_feature_quantile{{{WINDOW}, feature=~"$feature"}})'
    panel = lines(
        "Quantiles of $feature",
        "From the 1st to the 99th percentile, in the feature's own unit; numeric features only.",
        "none",
        [(asked, "{{quantile}}")],
    )
    return panel.repeat("feature").repeat_direction("h").max_per_row(3)


def rows() -> Iterator[tuple[str, int, int, list[Panel]]]:
    """Rows of the dashboard: title, height and width of their panels in grid units, and the panels."""
    yield "Model", 5, 6, list(summary_panels())
    verdict = (
        statetimeline.Panel()
        .title("Verdict by feature")
        .description("When each feature counted as drifted. Gaps: no verdict, or no window evaluated.")
        .with_target(query(f"max by (feature) (ml_feature_drift_detected{{{WINDOW}}})", legend="{{feature}}"))
        .mappings(verdicts())
        .unit("none")
    )
    yield "Features", 10, 12, [drifted_now(), verdict]
    drift_of_feature = scores(
        "Drift of $feature",
        "The feature's distance from its baseline (Jensen-Shannon, 0 to 1) over what sampling noise alone explains.",
        "feature_drift",
        ["feature"],
        f'{WINDOW}, feature=~"$feature"',
    )
    yield "Score over noise floor", 7, 8, [drift_of_feature.repeat("feature").repeat_direction("h").max_per_row(3)]
    by_output = scores(
        "Drift of predictions",
        "Distance of what the model answers, and of its probabilities by class, from the baseline (Jensen-Shannon, "
        "0 to 1) over its noise floor.",
        "prediction_drift",
        ["output", "class"],
        WINDOW,
    )
    rate = (
        timeseries.Panel()
        .title("Predictions a second by version")
        .description("Predictions counted, by version of the model.")
        .with_target(
            query(f"sum by (version) (rate(ml_predictions_total{{{MODEL}}}[$__rate_interval]))", legend="{{version}}")
        )
        .unit("reqps")
        .min(0)
    )
    yield "Predictions", 8, 12, [by_output, rate]
    yield "Data quality", 8, 8, list(quality_panels())
    yield "Quantiles", 7, 8, [quantiles()]


def build() -> str:
    """The dashboard as JSON text, the same at every call."""
    board = (
        dashboard.Dashboard("Model drift")
        .uid("driftmeter")
        .description("Drift of one model's features and predictions, as Driftmeter wrote it to Prometheus.")
        .tags(["driftmeter", "machine-learning"])
        .readonly()
        .timezone("browser")
        .time("now-24h", "now")
        .refresh("30s")
    )
    for variable in variables():
        board = board.with_variable(variable)
    number = count(1)  # Grafana tells panels apart by these, and repeats them under new ones.
    for title, height, width, panels in rows():
        board = board.with_row(dashboard.Row(title).id(next(number)))
        for panel in panels:
            board = board.with_panel(panel.id(next(number)).datasource(SOURCE).height(height).span(width))
    return json.dumps(json.loads(JSONEncoder(sort_keys=True).encode(board.build())), indent=2, sort_keys=True) + "\n"


def panels_of(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard in Classic JSON, those inside rows too, the rows themselves not."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or ()
        else:
            yield panel


def dashboard_queries(
    model: str, window: str, version: str = ".*", feature: str = ".+", rate_interval: str = RATE_INTERVAL
) -> dict[str, str]:
    """Every query of the committed dashboard with its variables filled in.

    Args:
        model: Value of the model variable.
        window: Value of the window variable, such as `5m`.
        version: Regular expression for the versions.
        feature: Regular expression for the features.
        rate_interval: What stands for `$__rate_interval`.

    Returns:
        Per panel title and the query's letter, `Features now A`, the PromQL.
    """
    values = {"model": model, "window": window, "version": version, "feature": feature}
    values["__rate_interval"] = rate_interval
    board = json.loads(TARGET.read_text())
    return {
        f"{panel['title']} {target['refId']}": Template(target["expr"]).substitute(values)
        for panel in panels_of(board)
        for target in panel["targets"]
    }


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(build())
    print(f"wrote {TARGET}")
