"""The YAML file: mistakes named at once with their places."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from driftmeter.config import Config, load_config
from driftmeter.errors import ConfigError
from driftmeter.model.windows import parse_duration_ns

ROOT = Path(__file__).resolve().parents[2]


def load(tmp_path: Path, text: str) -> Config:
    """The configuration of a file with this text."""
    path = tmp_path / "driftmeter.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, {})


def mistakes(tmp_path: Path, text: str) -> list[str]:
    """Lines of the message."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "---\n"])
def test_everything_may_be_left_out(tmp_path: Path, text: str) -> None:
    """An empty file is the defaults, and so is no file."""
    assert load(tmp_path, text) == load_config(None, {}) == Config()


def test_values_are_read(tmp_path: Path) -> None:
    """Parts and fields as documented."""
    config = load(tmp_path, "window:\n  lengths: [1h, 500rows]\n  clock: data\ndetect: {min_rows: 7}\n")
    assert config.window.lengths == ("1h", "500rows")
    assert config.window.clock == "data"
    assert config.detect.min_rows == 7


def test_three_mistakes_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    """File, number of mistakes, and for each the path in the file, what is wrong and what was given."""
    lines = mistakes(
        tmp_path,
        "window:\n  lengths: [5m, 7x]\n  clok: data\ndetect:\n  needed: 21\nbaseline:\n  learn_rows: many\n",
    )
    assert lines[0] == f"{tmp_path / 'driftmeter.yaml'}: 4 mistakes"
    assert lines[1].startswith("  window.lengths.1: '7x' is not a window: write a duration such as 5m, 1h or 24h, or")
    assert lines[2:-1] == [
        "  window.clok: there is no such field; check its spelling and indentation",
        "  baseline.learn_rows: Input should be a valid integer, unable to parse string as an integer (given: 'many')",
        "  detect.needed: Input should be less than or equal to 20 (given: 21)",
    ]
    assert "driftmeter config schema" in lines[-1]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("windows: {}", "windows", "there is no such field"),
        ("window: 5m", "window", "valid dictionary"),
        ("window: {lengths: 5m}", "window.lengths", "valid tuple"),
        ("window: {lengths: [5m, 301s]}", "window.lengths.1", "301s is not a multiple of the other windows"),
        ("window: {lengths: [24h every 5h]}", "window.lengths.0", "the length must be a multiple of the step"),
        ("window: {lengths: [7m, 7m]}", "window.lengths.1", "7m stands here twice"),
        ("window: {lengths: [367d]}", "window.lengths.0", "'367d' is too long: a window by time has at most a year"),
        ("window: {allowed_lateness: 100000d}", "window.allowed_lateness", "'100000d' is too long: a duration has at"),
        ("export: {interval: 3651d}", "export.interval", "at most 10 years, 3650d"),
        ("attributes: {max_columns: -5}", "attributes.max_columns", "greater than or equal to 1 (given: -5)"),
        ("attributes: {max_columns: 0}", "attributes.max_columns", "greater than or equal to 1 (given: 0)"),
        ("attributes: {model_name: ''}", "attributes.model_name", "at least 1 character"),
        ("attributes: {feature_prefix: ''}", "attributes.feature_prefix", "at least 1 character"),
        ("attributes: {segment_prefix: ''}", "attributes.segment_prefix", "at least 1 character"),
        (
            "attributes: {model_name: v, model_version: v}",
            "attributes.model_version",
            "'v' is the model_name already: each needs one of its own",
        ),
        ("attributes: {model_version: ml.model.stage}", "attributes.model_stage", "is the model_version already"),
        ("attributes: {label_prefix: ml.feature.}", "attributes.label_prefix", "is the feature_prefix already"),
        (
            "ingest: {grpc: {listen: '0.0.0.0:4317'}}",
            "ingest.insecure",
            "0.0.0.0:4317 is reachable from other machines",
        ),
        ("ingest: {max_in_flight_bytes: 2000}", "ingest.max_in_flight_bytes", "smaller than max_request_bytes"),
        ("window: {lengths: []}", "window.lengths", "at least 1 window length"),
        ("window: {out_of_orderness: soon}", "window.out_of_orderness", "'soon' is not a duration"),
        ("detect: {min_rows: 0}", "detect.min_rows", "greater than or equal to 1 (given: 0)"),
        ("1: 2", "1", "string"),
        ("ingest: {grpc: {listen: 5}}", "ingest.grpc.listen", "(given: 5)"),
    ],
)
def test_each_mistake_has_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    """The path in the file, and words that say what would be right."""
    lines = mistakes(tmp_path, text)
    assert lines[0].endswith(": 1 mistake")
    assert lines[1].startswith(f"  {place}: ")
    assert words in lines[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [", "not YAML"),
        (b"- 1\n- 2\n", "must be a mapping"),
        (b"hello", "must be a mapping"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"\ttab: 1", "not YAML"),
        (b"window: {clock: 2024-13-45}", "not YAML: month must be in 1..12"),
        (b"window: {}\nwindow: {}\n", "'window' stands twice"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """The file is named, with what it is not."""
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(path, {})
    assert str(path) in str(caught.value)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    """Neither is a configuration."""
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "gone.yaml", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path, {})


def test_no_mistake_hides_another(tmp_path: Path) -> None:
    """What fields must be to each other is told beside what is wrong with a field alone, each at its place."""
    lines = mistakes(
        tmp_path,
        """
ingest: {grpc: {listen: "0.0.0.0:4317"}, max_request_bytes: 1}
attributes: {model_name: v, model_version: v, feature_prefix: x., label_prefix: x., max_columns: many}
window: {lengths: [5m, 301s, 9x, 5m], clok: data, allowed_lateness: soon}
""",
    )
    assert [line.partition(": ")[0].strip() for line in lines[1:-1]] == [
        "ingest.insecure",
        "ingest.max_request_bytes",
        "attributes.model_version",
        "attributes.label_prefix",
        "attributes.max_columns",
        "window.lengths.1",
        "window.lengths.2",
        "window.lengths.3",
        "window.allowed_lateness",
        "window.clok",
    ]
    assert lines[0].endswith(": 10 mistakes")


@pytest.mark.parametrize(
    "text",
    [
        "ingest: {grpc: {listen: '0.0.0.0'}, insecure: false}",
        "ingest: {grpc: {listen: '0.0.0.0:4317'}, insecure: perhaps}",
        "ingest: {max_request_bytes: lots, max_in_flight_bytes: 2000}",
        "window: {lengths: [5x, 301s]}",
    ],
)
def test_a_mistake_makes_no_further_ones(tmp_path: Path, text: str) -> None:
    """A field is not compared with one that is wrong."""
    assert mistakes(tmp_path, text)[0].endswith(": 1 mistake")


def test_longest_durations_do_not_overflow(tmp_path: Path) -> None:
    """Ten years of lateness, added to any time of ours, fit into 64 bits of nanoseconds."""
    config = load(tmp_path, "window: {lengths: [366d], allowed_lateness: 3650d}")
    assert parse_duration_ns(config.window.allowed_lateness) + 2**62 < 2**63


def test_optional_attributes_may_be_without_a_name(tmp_path: Path) -> None:
    """Several at once: an empty name reads none, so that empty ones are not alike."""
    config = load(tmp_path, "attributes: {model_version: '', model_stage: '', prediction_id: ''}")
    assert config.attributes.model_stage == ""


def fields_of(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every property of a JSON schema with its path."""
    found = [(f"{path}{name}", each) for name, each in schema.get("properties", {}).items()]
    for name, definition in schema.get("$defs", {}).items():
        found += fields_of(definition, f"{name}.")
    return found


def test_schema_describes_every_field() -> None:
    """Every field of every part has a description of its own, or is a part that has one."""
    schema = Config.model_json_schema()
    fields = fields_of(schema)
    assert len(fields) > 30
    for path, field in fields:
        part = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
        assert field.get("description") or part.get("description"), path


def test_schema_forbids_unknown_fields() -> None:
    """Editors see misspelt fields as the program does."""
    schema = Config.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        if part.get("type") == "object":
            assert part.get("additionalProperties") is False, part.get("title")


def test_defaults_survive_a_round_trip() -> None:
    """What the defaults are can be written down as YAML and read back."""
    text = yaml.safe_dump(Config().model_dump(mode="json"))
    assert Config.model_validate(yaml.safe_load(text)) == Config()


def test_deployed_configuration_is_good() -> None:
    """The file of the compose stack has no mistake."""
    assert load_config(ROOT / "deploy" / "driftmeter.yaml", {}).ingest.grpc.listen == "0.0.0.0:4317"
