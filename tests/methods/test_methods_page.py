"""The documentation page of the methods is the registry's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from driftmeter.methods import METHODS, Bins
from driftmeter.methods.document import page
from driftmeter.methods.ratios import MODEL_RATIOS, RATIOS
from driftmeter.methods.sampled import SAMPLED
from driftmeter.methods.sequential import SEQUENTIAL

PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods.md"


def test_page_is_current() -> None:
    """docs/methods.md is what the registry says now; run `python -m driftmeter.methods.document > docs/methods.md`."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_command_prints_the_page() -> None:
    """The documented command prints the page, whatever the terminal's encoding."""
    command = [sys.executable, "-X", "utf8", "-m", "driftmeter.methods.document"]
    done = subprocess.run(command, capture_output=True, check=True, encoding="utf-8")
    assert done.stdout == page()
    assert done.stderr == ""


@pytest.mark.parametrize("key", METHODS)
def test_every_method_has_a_section(key: str) -> None:
    """A section says formula, bins, range, error, emptiness, cost, dangers, agreement and paper."""
    (section,) = re.findall(rf"^## `{key}`.*?(?=^## |\Z)", page(), re.DOTALL | re.MULTILINE)
    spec = METHODS[key]
    for text in (spec.formula, spec.unit, spec.error_bound, spec.undefined, spec.cost, spec.misleads, spec.agrees_with):
        assert text in section
    assert spec.reference in section
    assert not spec.numeric or f"`{spec.bins.value}`" in section


@pytest.mark.parametrize("key", SEQUENTIAL)
def test_every_sequential_detector_has_a_section(key: str) -> None:
    """A section says formula, unit, threshold, beginning, cost, dangers, agreement and paper."""
    (section,) = re.findall(rf"^## `{key}`.*?(?=^##? |\Z)", page(), re.DOTALL | re.MULTILINE)
    spec = SEQUENTIAL[key]
    for text in (spec.formula, spec.unit, spec.undefined, spec.cost, spec.misleads, spec.agrees_with, spec.reference):
        assert text in section
    assert f"above {spec.threshold:g}" in section


@pytest.mark.parametrize("key", [*RATIOS, *MODEL_RATIOS])
def test_every_ratio_has_a_section(key: str) -> None:
    """A section says what it is a share of, and how much of it counts."""
    spec = {**RATIOS, **MODEL_RATIOS}[key]
    (section,) = re.findall(rf"^## `{key}`.*?(?=^##? |\Z)", page(), re.DOTALL | re.MULTILINE)
    shared = "the window's time" if spec.of_time else "the rows with a value" if spec.of_values else "all rows"
    assert f"**Share of**: {shared}" in section
    assert f"{spec.default_min_effect:g} of {'the time' if spec.of_time else 'these rows'}" in section


@pytest.mark.parametrize("key", SAMPLED)
def test_every_method_on_samples_has_a_section(key: str) -> None:
    """A section says formula, cost, dangers and paper."""
    (section,) = re.findall(rf"^## `{key}`.*?(?=^##? |\Z)", page(), re.DOTALL | re.MULTILINE)
    for text in (SAMPLED[key].formula, SAMPLED[key].cost, SAMPLED[key].misleads, SAMPLED[key].reference):
        assert text in section


def test_every_grouping_is_explained() -> None:
    """Every grouping of bins has a line."""
    assert all(f"\n- `{kind.value}`: " in page() for kind in Bins)
