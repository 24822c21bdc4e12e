"""The Grafana dashboard: what is committed is what the generator writes, and it keeps the rules of dashboard-linter.

The rules are those of grafana/dashboard-linter v0.2.0, whose program no package registry carries. Left out, with
reasons: template-job, template-instance, target-job and target-instance, since results belong to models, not to the
processes that computed them; target-logql, since there are no logs here.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from scripts.dashboard import TARGET, build, dashboard_queries, panels_of

BOARD: dict[str, Any] = json.loads(TARGET.read_text())
PANELS = list(panels_of(BOARD))
VARIABLES = {one["name"]: one for one in BOARD["templating"]["list"]}
EXPRESSIONS = dashboard_queries("flights", "24h")

each_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
each_expression = pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())


def nodes(node: Any) -> Iterator[Any]:
    """A parsed PromQL expression and all expressions inside it."""
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        inner = getattr(node, name, None)
        if inner is not None:
            yield from nodes(inner)
    for argument in getattr(node, "args", None) or ():
        yield from nodes(argument)


def test_committed_dashboard_is_what_the_generator_writes() -> None:
    """Running the generator again changes nothing."""
    assert TARGET.read_text() == build(), "run: python scripts/dashboard.py"


def test_dashboard_is_classic_json_that_nobody_edits_in_place() -> None:
    """File provisioning takes schema version 42, and edits would be lost at the next start."""
    assert BOARD["schemaVersion"] == 42
    assert BOARD["editable"] is False
    assert BOARD["uid"] == "driftmeter"


def test_panels_have_ids_of_their_own() -> None:
    """Grafana tells panels apart by their ids."""
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_data_source_is_a_variable() -> None:
    """The dashboard works in any Grafana that has a Prometheus."""
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    assert VARIABLES["datasource"]["label"] == "Data source"


@pytest.mark.parametrize("name", ["model", "version", "window", "feature"])
def test_choices_come_from_prometheus_whenever_the_time_range_changes(name: str) -> None:
    """A model that appeared a minute ago can be chosen."""
    variable = VARIABLES[name]
    assert variable["type"] == "query"
    assert variable["refresh"] == 2, "2 is: on time range change"
    assert variable["datasource"]["uid"] == "$datasource"
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
    assert match is not None
    assert match[2] == name
    promql_parser.parse(match[1].replace("$", ""))


@each_panel
def test_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """Every panel has a title, a description of a sentence, a unit and at least one query."""
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


@each_panel
def test_panel_and_its_queries_use_the_chosen_data_source(panel: dict[str, Any]) -> None:
    """No panel names a data source of one installation."""
    sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert all(source == {"type": "prometheus", "uid": "$datasource"} for source in sources)


@each_panel
def test_queries_select_the_chosen_model(panel: dict[str, Any]) -> None:
    """Numbers of two models never mix in one panel."""
    for target in panel["targets"]:
        assert 'model="$model", version=~"$version"' in target["expr"]
        assert "$window" in target["expr"] or "ml_predictions_total" in target["expr"]


@each_panel
def test_rates_are_taken_over_the_rate_interval(panel: dict[str, Any]) -> None:
    """A fixed range would be empty or coarse at other zoom levels."""
    for target in panel["targets"]:
        ranges = re.findall(r"\[([^\]]+)\]", target["expr"])
        assert set(ranges) <= {"$__rate_interval"}


@each_expression
def test_expression_parses(expression: str) -> None:
    """Every query is PromQL once Grafana has filled in the variables."""
    promql_parser.parse(expression)
    assert "$" not in expression


@each_expression
def test_counters_are_aggregated_over_their_rate(expression: str) -> None:
    """The plain value of a counter says nothing, and summing before taking the rate hides resets."""
    parsed = list(nodes(promql_parser.parse(expression)))
    counters = [node for node in parsed if str(getattr(node, "name", "")).endswith("_total")]
    rated = [node for node in parsed if getattr(getattr(node, "func", None), "name", "") in {"rate", "increase"}]
    assert bool(counters) == bool(rated)
    assert all(type(parsed[0]).__name__ == "AggregateExpr" for _ in counters)
