"""The Collector configurations are valid for the real Collector, the variations in their README included."""

import re
import subprocess
from pathlib import Path

import pytest

from components import ROOT, require

CONFIGS = ROOT / "collector-config"
VARIATIONS = re.findall(r"^```yaml\n(.*?)^```", (CONFIGS / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)


def validate(*files: Path) -> subprocess.CompletedProcess[str]:
    """Runs `otelcol validate` on these files, merged in order."""
    command: list[str | Path] = [require("otelcol"), "validate", *(f"--config={file}" for file in files)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["collector.yaml", "minimal.yaml"])
def test_configuration_is_valid(name: str) -> None:
    """The Collector accepts the file without any environment variable set."""
    validated = validate(CONFIGS / name)
    assert validated.returncode == 0, validated.stderr


def test_readme_has_variations() -> None:
    """The pattern that finds the README's snippets finds all of them."""
    assert len(VARIATIONS) == 5


@pytest.mark.parametrize("number", range(len(VARIATIONS)))
def test_variation_of_the_readme_is_valid(number: int, tmp_path: Path) -> None:
    """Each snippet of the README, merged over collector.yaml, is a valid configuration."""
    snippet = tmp_path / "variation.yaml"
    snippet.write_text(VARIATIONS[number])
    validated = validate(CONFIGS / "collector.yaml", snippet)
    assert validated.returncode == 0, f"{VARIATIONS[number]}\n{validated.stderr}"


def test_mistakes_are_noticed(tmp_path: Path) -> None:
    """Validation is no formality: an unknown key makes it fail."""
    broken = tmp_path / "broken.yaml"
    broken.write_text("exporters: {otlp/driftmeter: {compresion: none}}")
    assert validate(CONFIGS / "collector.yaml", broken).returncode != 0
