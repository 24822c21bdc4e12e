"""What is otherwise for some models: merged over the general parts, and checked at start."""

from pathlib import Path
from typing import Any

import pytest

from driftmeter.baseline.config import BaselineConfig
from driftmeter.config import Config, load_config
from driftmeter.config_document import document
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import ConfigError
from driftmeter.model.predictions import ModelKey
from driftmeter.window.config import WindowConfig
from rows import HOUR_NS, MINUTE_NS
from watched_pipeline import START_NS, WatchedPipeline

TEXT = """
window: {lengths: [1h, 24h], allowed_lateness: 6h}
baseline: {learn_rows: 5000}
detect: {min_rows: 50}
models:
  - {model: price-eu, version: "3", window: {lengths: [5m]}}
  - {model: "price*", window: {allowed_lateness: 1h}, detect: {min_rows: 7}}
  - {stage: shadow, baseline: {learn_rows: 200}}
"""


def load(tmp_path: Path, text: str) -> Config:
    """The configuration of a file with this text."""
    path = tmp_path / "driftmeter.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, {})


def mistakes(tmp_path: Path, text: str) -> list[str]:
    """Lines of the message about single mistakes."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value).splitlines()[1:-1]


@pytest.mark.parametrize(
    ("key", "lengths", "lateness", "min_rows", "learn_rows"),
    [
        (ModelKey("clicks", "1", ""), ("1h", "24h"), "6h", 50, 5000),
        (ModelKey("price-eu", "3", "shadow"), ("5m",), "6h", 50, 5000),
        (ModelKey("price-eu", "4", "shadow"), ("1h", "24h"), "1h", 7, 5000),
        (ModelKey("clicks", "1", "shadow"), ("1h", "24h"), "6h", 50, 200),
    ],
)
def test_the_first_entry_that_a_model_fits_holds(
    tmp_path: Path, key: ModelKey, lengths: tuple[str, ...], lateness: str, min_rows: int, learn_rows: int
) -> None:
    """Its fields over the general ones, which hold for all others; further entries are not looked at."""
    config = load(tmp_path, TEXT).for_model(key)
    assert (config.window.lengths, config.window.allowed_lateness) == (lengths, lateness)
    assert (config.detect.min_rows, config.baseline.learn_rows) == (min_rows, learn_rows)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("models: {a: 1}", "models", "valid tuple"),
        ("models: [{modle: a}]", "models.0.modle", "there is no such field"),
        ("models: [{}, {window: {lenghts: [5m]}}]", "models.1.window.lenghts", "there is no such field"),
        ("models: [{window: {lengths: [5m, 7x]}}]", "models.0.window.lengths.1", "'7x' is not a window"),
        ("models: [{window: {clock: data}}]", "models.0.window.clock", "clock holds for all models: set it in window"),
        ("models: [{window: {max_future: 1h}}]", "models.0.window.max_future", "holds for all models"),
        ("models: [{baseline: {files: [a]}}]", "models.0.baseline.files", "holds for all models"),
        ("models: [{detect: {min_rows: 0}}]", "models.0.detect.min_rows", "greater than or equal to 1 (given: 0)"),
        ("models: [{detect: 5}]", "models.0.detect", "valid dictionary"),
        ("models: [{model: 5}]", "models.0.model", "valid string"),
    ],
)
def test_each_mistake_has_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    """The path in the file, with the entry's number, at start and not when the model comes."""
    (line,) = mistakes(tmp_path, text)
    assert line.startswith(f"  {place}: ")
    assert words in line


def test_mistakes_of_several_entries_are_told_at_once(tmp_path: Path) -> None:
    """Beside those of the general parts, which make no further ones in the entries."""
    text = "window: {lengths: [5x]}\nmodels: [{window: {lengths: [1h]}, detect: {min_rows: 0}}, {baseline: {a: 1}}]\n"
    assert [line.split(": ")[0].strip() for line in mistakes(tmp_path, text)] == [
        "window.lengths.0",
        "models.0.detect.min_rows",
        "models.1.baseline.a",
    ]


def test_the_environment_gives_all_entries_or_none() -> None:
    """As YAML in one variable; parts of an entry have no variables."""
    config = load_config(None, {"DRIFTMETER_MODELS": "[{model: a, detect: {min_rows: 3}}]"})
    assert config.for_model(ModelKey("a", "", "")).detect.min_rows == 3
    with pytest.raises(ConfigError, match="no such variable"):
        load_config(None, {"DRIFTMETER_MODELS__MODEL": "a"})


def test_the_page_and_the_schema_describe_entries() -> None:
    """Editors know the fields of the parts in an entry too."""
    assert "\n## models\n" in document()
    schema: dict[str, Any] = Config.model_json_schema()
    entry = schema["$defs"]["ModelOverrides"]["properties"]
    for name, part in (("window", WindowConfig), ("baseline", BaselineConfig), ("detect", DetectConfig)):
        assert entry[name]["properties"].keys() == part.model_fields.keys()


def test_models_have_windows_and_lateness_of_their_own() -> None:
    """One service: a model with the general windows beside one with others, which takes late rows for less long."""
    it = WatchedPipeline(
        {
            "window": {"lengths": ["10m"], "allowed_lateness": "24h"},
            "baseline": {"learn_rows": 100},
            "models": [{"model": "clicks", "window": {"lengths": ["5m", "10m every 5m"], "allowed_lateness": "5m"}}],
        }
    )
    rows = [{"x": float(number)} for number in range(100)]
    for model in ("prices", "clicks"):
        it.send(rows, START_NS, model=model)
    it.clock.advance(3 * 3600)
    for model in ("prices", "clicks"):
        it.send(rows[:1], START_NS + 3 * HOUR_NS, model=model)
        it.send(rows[:1], START_NS + 6 * MINUTE_NS, model=model)
    it.tick(revise=True)
    assert [each.window.name for each in it.windows_of("prices")] == ["10m", "10m"]
    assert [each.window.name for each in it.windows_of("clicks")] == ["5m", "10m every 5m", "10m every 5m"]
    assert it.telemetry.rows.value(outcome="late") == 1
    it.assert_ledger_holds()
