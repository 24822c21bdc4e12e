"""What windows are compared with, as the configuration says it."""

from pathlib import Path

import pytest

from driftmeter.config import load_config
from driftmeter.errors import ConfigError


def _config(tmp_path: Path, references: str) -> Path:
    path = tmp_path / "driftmeter.yaml"
    path.write_text(f"baseline: {{references: {references}}}\n", encoding="utf-8")
    return path


def test_references_have_labels(tmp_path: Path) -> None:
    """Each sort has a label of its own unless it is given one; the first one alarms."""
    path = _config(
        tmp_path,
        "[file, previous, {rolling: 7d}, {seasonal: hour-of-week, name: weekly}, {version: '3'}, "
        "{rolling: 1d, name: day}]",
    )
    baseline = load_config(path, {}).baseline
    assert [(each.sort, each.label) for each in baseline.references] == [
        ("file", "file"),
        ("previous", "previous"),
        ("rolling", "rolling"),
        ("seasonal", "weekly"),
        ("version", "version 3"),
        ("rolling", "day"),
    ]
    assert baseline.other_version == "3"


def test_without_a_word_windows_are_compared_with_the_baseline(tmp_path: Path) -> None:
    """The default is the file's baseline, or the one that was learned."""
    path = tmp_path / "driftmeter.yaml"
    path.write_text("", encoding="utf-8")
    baseline = load_config(path, {}).baseline
    assert [each.sort for each in baseline.references] == ["file"]
    assert baseline.other_version is None


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ("[]", "baseline.references: at least 1 is needed"),
        ("[file, file]", "baseline.references: file stands here twice; give each its own name"),
        ("[{}]", "baseline.references.0: names nothing to compare with: write file"),
        ("[fil]", "baseline.references.0: 'fil' is nothing to compare with: write file"),
        ("[file, {rolling: 7x}]", "baseline.references.1.rolling: '7x' is not a duration"),
        ("[{rolling: 7d, version: '2'}]", "baseline.references.0: names rolling and version"),
        ("[{seasonal: monthly}]", "baseline.references.0.seasonal: Input should be 'hour-of-week'"),
        ("[{version: '2'}, {version: '3'}]", "one other version alone"),
        ("[file, {previous: true, name: learned}]", "the name learned is that of baselines that are learned"),
        ("[{rolling: 7d, name: ''}]", "baseline.references.0.name"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path: Path, references: str, message: str) -> None:
    """What is wrong, where, and what can be written there."""
    with pytest.raises(ConfigError) as raised:
        load_config(_config(tmp_path, references), {})
    assert message in str(raised.value)


def test_references_come_from_the_environment_as_a_whole(tmp_path: Path) -> None:
    """A list is given as one value; its parts have no variables."""
    path = _config(tmp_path, "[previous]")
    given = load_config(path, {"DRIFTMETER_BASELINE__REFERENCES": "[file, {rolling: 7d}]"})
    assert [each.sort for each in given.baseline.references] == ["file", "rolling"]
    with pytest.raises(ConfigError, match="there is no such variable"):
        load_config(path, {"DRIFTMETER_BASELINE__REFERENCES__ROLLING": "7d"})
