"""Variables of the environment: what they set, and that none is without effect silently."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from driftmeter.config import OTHER_VARIABLES, Config, load_config
from driftmeter.errors import ConfigError


def load(text: str, environment: Mapping[str, str], folder: Path) -> Config:
    """The configuration of a file with this text, in this environment."""
    path = folder / "driftmeter.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, environment)


def mistakes(environment: Mapping[str, str]) -> list[str]:
    """Lines about the mistakes, without a file."""
    with pytest.raises(ConfigError) as caught:
        load_config(None, environment)
    head, *lines, _ = str(caught.value).splitlines()
    assert head == f"the environment: {len(lines)} mistake{'s' if len(lines) > 1 else ''}"
    return [line.removeprefix("  ") for line in lines]


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A variable per field, its value YAML; the file's other fields stay."""
    environment = {
        "DRIFTMETER_WINDOW__LENGTHS": "[5m, 1h]",
        "DRIFTMETER_DETECT__MIN_ROWS": "12",
        "DRIFTMETER_EXPORT__SCRAPE__LISTEN": "127.0.0.1:9999",
        "HOME": "/home/me",
    }
    config = load("window: {lengths: [1h], clock: data}\nexport: {interval: 7s}\ndetect:\n", environment, tmp_path)
    assert config.window.lengths == ("5m", "1h")
    assert config.window.clock == "data"
    assert config.detect.min_rows == 12
    assert (config.export.scrape.listen, config.export.interval) == ("127.0.0.1:9999", "7s")


def test_whole_part_is_given_as_yaml(tmp_path: Path) -> None:
    """It stands in the place of the file's part, and variables for single fields win over it."""
    environment = {"DRIFTMETER_WINDOW__CLOCK": "data", "DRIFTMETER_WINDOW": "{lengths: [2h], clock: wall}"}
    config = load("window: {idle_after: 7s}\nexport: {interval: 7s}\n", environment, tmp_path)
    assert config == Config.model_validate(
        {"window": {"lengths": ["2h"], "clock": "data"}, "export": {"interval": "7s"}}
    )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DRIFTMETER_EXPORT_INTERVAL", "DRIFTMETER_EXPORT__INTERVAL"),
        ("DRIFTMETER_WINDW__CLOCK", "DRIFTMETER_WINDOW__CLOCK"),
        ("DRIFTMETER_WINDOW__CLOK", "DRIFTMETER_WINDOW__CLOCK"),
        ("DRIFTMETER_EXPORT__REMOTE_WRITE_URL", "DRIFTMETER_EXPORT__REMOTE_WRITE__URL"),
        ("DRIFTMETER_window__clock", "DRIFTMETER_WINDOW__CLOCK"),
        ("DRIFTMETER_WINDOWS", "DRIFTMETER_WINDOW"),
        ("DRIFTMETER_CACHEDIR", "DRIFTMETER_CACHE_DIR"),
    ],
)
def test_variable_that_is_no_field_is_a_mistake(name: str, nearest: str) -> None:
    """It is named with the nearest one there is, whatever it holds."""
    assert mistakes({name: "10s"}) == [f"{name}: there is no such variable; the nearest is {nearest}"]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Those of the file, of the values of variables (which are named) and of variables themselves."""
    environment = {
        "DRIFTMETER_DETECT__MIN_ROWS": "0",
        "DRIFTMETER_WINDOW": "{lengths: [5m, 301s]}",
        "DRIFTMETER_EXPORT_INTERVAL": "banana",
        "DRIFTMETER_EXPORT__INTERVAL": "[5m",
        "DRIFTMETER_BASELINE__LEARN_ROWS": "2024-13-45",
    }
    with pytest.raises(ConfigError) as caught:
        load("detect: {needed: 21}", environment, tmp_path)
    head, *lines, _ = str(caught.value).splitlines()
    assert head == f"{tmp_path / 'driftmeter.yaml'}: 6 mistakes"
    for line, start in zip(
        lines,
        [
            "window.lengths.1 (DRIFTMETER_WINDOW): 301s is not a multiple of the other windows",
            "detect.needed: Input should be less than or equal to 20 (given: 21)",
            "detect.min_rows (DRIFTMETER_DETECT__MIN_ROWS): Input should be greater than or equal to 1 (given: 0)",
            "DRIFTMETER_BASELINE__LEARN_ROWS: the value is not YAML: month must be in 1..12",
            "DRIFTMETER_EXPORT_INTERVAL: there is no such variable",
            "DRIFTMETER_EXPORT__INTERVAL: the value is not YAML: ",
        ],
        strict=True,
    ):
        assert line.startswith(f"  {start}")


def test_wrong_part_of_the_file_stays_a_mistake(tmp_path: Path) -> None:
    """A variable for one of its fields does not cover it up."""
    with pytest.raises(ConfigError, match=r"window: Input should be a valid dictionary.*\(given: '5m'\)"):
        load("window: 5m", {"DRIFTMETER_WINDOW__CLOCK": "data"}, tmp_path)


def test_variables_of_others_are_left_alone() -> None:
    """Those of the cache, the tests and the Collector, and those that Kubernetes sets beside a service of our name."""
    kubernetes = {
        "DRIFTMETER_SERVICE_HOST": "10.0.0.1",
        "DRIFTMETER_SERVICE_PORT": "4317",
        "DRIFTMETER_SERVICE_PORT_OTLP": "4317",
        "DRIFTMETER_PORT": "tcp://10.0.0.1:4317",
        "DRIFTMETER_PORT_4317_TCP": "tcp://10.0.0.1:4317",
        "DRIFTMETER_PORT_4317_TCP_PROTO": "tcp",
        "DRIFTMETER_METRICS_PORT_9464_TCP_ADDR": "10.0.0.1",
    }
    assert load_config(None, {**dict.fromkeys(OTHER_VARIABLES, "[5m"), **kubernetes}) == Config()
    assert len(mistakes({"DRIFTMETER_PORT": "4317", "DRIFTMETER_INGEST_PORT": "4317"})) == 2
