"""The examples of docs/attributes.md, one for each preset, are read as the page says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from driftmeter.columnar.config import AttributesConfig
from driftmeter.columnar.decoder import Decoder
from driftmeter.columnar.kinds import KindBook
from driftmeter.columnar.presets import PRESETS
from driftmeter.model.predictions import FIXED_FIELDS
from driftmeter.model.request import Signal
from otlp_samples import Scalar, array, make_logs, make_record, make_request, make_span

PAGE = (Path(__file__).parents[2] / "docs" / "attributes.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json attributes(?: preset=(\w+))?\n(.*?)```\s+```json rows\n(.*?)```", PAGE, re.DOTALL)
IDS = [f"{number}-{preset or 'default'}" for number, (preset, _, _) in enumerate(EXAMPLES)]


def as_scalar(value: Any) -> Scalar:
    """An attribute's value as the page writes it."""
    return array(*value) if isinstance(value, list) else value


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize(("preset", "attributes", "rows"), EXAMPLES, ids=IDS)
def test_example_gives_the_rows_it_shows(preset: str, attributes: str, rows: str, signal: Signal) -> None:
    """As a span and as a log record, the attributes become these rows, without a mismatch or a dropped value."""
    given = {key: as_scalar(value) for key, value in json.loads(attributes).items()}
    request = make_request([make_span(given)]) if signal is Signal.TRACES else make_logs([make_record(given)])
    decoder = Decoder(AttributesConfig(preset=preset or "default"), KindBook())  # type: ignore[arg-type]
    decoded = decoder.decode(request.SerializeToString(), signal)
    (batch,) = decoded.batches
    assert (decoded.accepted, decoded.dropped_values, batch.mismatches) == (1, {}, {})
    data = batch.rows.select(["prediction_id", *batch.rows.schema.names[len(FIXED_FIELDS) :]]).to_pylist()
    found = [{"model": batch.key.model, "version": batch.key.version, **row} for row in data]
    wanted = [{"version": "", "prediction_id": None, **row} for row in json.loads(rows)]
    assert found == wanted


def test_every_preset_has_an_example() -> None:
    """No preset is left out of the page."""
    assert {preset or "default" for preset, _, _ in EXAMPLES} == set(PRESETS)


def test_what_is_written_wins_over_the_preset() -> None:
    """Fields and aliases that are given stand; the preset's other ones stay."""
    config = AttributesConfig(preset="gen_ai", model_name="my.model", aliases={"gen_ai.usage.*": "prediction.*"})
    assert (config.model_name, config.model_version) == ("my.model", "gen_ai.response.model")
    assert config.aliases["gen_ai.usage.*"] == "prediction.*"
    assert config.aliases["gen_ai.request.top_p"] == "feature.top_p"


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("a", "b"),
        ("a", "feature"),
        ("a", "feature."),
        ("a", "feature.*"),
        ("a.*", "feature.x"),
        ("a.*", "model_name"),
        ("a.*", "json:feature"),
        ("a", "json:colour"),
        ("a", "colour.red"),
        ("", "feature.x"),
    ],
)
def test_aliases_that_mean_nothing_are_refused(key: str, target: str) -> None:
    """A mistake in an alias is named when the configuration is read."""
    with pytest.raises(ValueError, match="cannot be read as"):
        AttributesConfig(aliases={key: target})


def test_messages_of_a_language_model_are_mismatches() -> None:
    """Lists of objects are no rows; token counts and other members are columns."""
    value = json.dumps({"messages": [{"role": "user"}, {"role": "system"}], "temperature": 0.5})
    span = make_span({"llm.model_name": "gpt", "input.value": value, "llm.token_count.prompt": 12})
    (batch,) = (
        Decoder(AttributesConfig(preset="openinference"), KindBook())
        .decode(make_request([span]).SerializeToString())
        .batches
    )
    (row,) = batch.rows.select(["feature.messages", "feature.temperature", "feature.prompt"]).to_pylist()
    assert row == {"feature.messages": None, "feature.temperature": 0.5, "feature.prompt": 12.0}
    assert list(batch.mismatches) == ["feature.messages"]


def test_model_name_in_quotes_and_without() -> None:
    """MLflow's name is taken out of its quotes; a name that is no JSON is taken as it is."""
    names = ['"gpt-4"', "gpt-4", '"gpt', "12"]
    spans = [make_span({"mlflow.llm.model": name, "ml.feature.a": 1.0}, i) for i, name in enumerate(names)]
    decoder = Decoder(AttributesConfig(preset="mlflow"), KindBook())
    decoded = decoder.decode(make_request(spans).SerializeToString())
    assert [(batch.key.model, len(batch.rows)) for batch in decoded.batches] == [("gpt-4", 2), ('"gpt', 1), ("12", 1)]
