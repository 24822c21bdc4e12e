"""The benchmark of the whole service runs, and says what it is to say."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.ingest.document import write
from benchmarks.ingest.plot import Panel, render
from benchmarks.ingest.profiled import STAGES, resolve
from benchmarks.measure import Measurement
from components import ROOT

SECONDS = 300.0
"""How long a quick run may take on a busy machine."""


def run_quick(*parts: str) -> dict[str, dict[str, object]]:
    """What a quick run of these parts prints, by metric."""
    command = [sys.executable, "-m", "benchmarks", "ingest", "--quick", "--json"]
    command += [word for part in parts for word in ("--only", part)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["benchmark"] for line in lines} == {"ingest"}
    return {line["metric"]: line for line in lines}


def test_small_requests_and_pace_are_measured_on_real_processes() -> None:
    """The metrics have their agreed names and bounds, and every figure is positive."""
    found = run_quick("small", "pace")
    assert found["small_requests"]["target"] == 2.0
    assert found["small_requests"]["reference"] == "grpcio alone"
    assert found["throughput"]["at_least"] == 150_000
    assert found["ack_p99"]["target"] == 50.0
    assert all(float(str(found[name]["value"])) > 0 for name in ("small_requests", "throughput", "ack_p99"))


@pytest.mark.parametrize(("module", "path", "stage"), STAGES)
def test_the_profile_knows_every_stage(module: str, path: str, stage: str) -> None:
    """A function that has been renamed is to be renamed in the profile too."""
    assert callable(resolve(module, path)[2]), stage


def test_a_figure_below_its_lower_bound_is_missed() -> None:
    """Both bounds are judged, on the ratio where there is one."""
    assert Measurement("b", "m", 1.0, "s", at_least=2.0).missed
    assert not Measurement("b", "m", 2.0, "s", at_least=2.0, target=2.0).missed
    assert Measurement("b", "m", 1.0, "s", ratio=3.0, target=2.0).missed


def test_a_page_gets_its_tables_and_plots(tmp_path: Path) -> None:
    """What stands between the markers of a part that was run is replaced, all else is left as it is."""
    page = tmp_path / "speed.md"
    places = "".join(f"<!-- {part} -->\nold {part}\n<!-- end of {part} -->\n" for part in ("cost", "growth", "pace"))
    page.write_text(f"# Speed\n{places}The end.\n")
    cost = Measurement("ingest", "ours", 2.0, "µs", "theirs", 10.0, 0.2, 0.5)
    growth = [
        Measurement("ingest", f"{what}_{count}_{figure}", 1.5 * count, "µs")
        for what in ("features", "models")
        for count in (1, 10)
        for figure in ("cpu", "evaluation", "memory")
    ]
    write(page, {"cost": [cost], "growth": growth, "pace": []})
    text = page.read_text()
    assert "| `ours` | 2 µs | theirs: 10 | 0.2 | at most 0.5 |\n<!-- end of cost -->" in text
    assert "| 10 | 15 | 15 | 15 |" in text
    assert "old pace" in text
    assert "old cost" not in text
    assert text.endswith("The end.\n")
    for what in ("features", "models"):
        assert f"speed/growth-{what}.svg" in text
        ET.fromstring((tmp_path / "speed" / f"growth-{what}.svg").read_text())  # noqa: S314 - our own.


def test_a_page_without_a_place_is_refused(tmp_path: Path) -> None:
    """The mistake names the part."""
    page = tmp_path / "speed.md"
    page.write_text("# Speed\n")
    with pytest.raises(ValueError, match="no place for cost"):
        write(page, {"cost": [Measurement("ingest", "ours", 2.0, "µs")]})


def test_a_chart_shows_each_value_at_its_place() -> None:
    """Logarithmic axes begin and end at powers of ten; larger values stand higher."""
    chart = ET.fromstring(render([Panel("cost", "features", {1: 2.0, 10: 20.0})]))  # noqa: S314 - our own.
    circles = list(chart.iter("{http://www.w3.org/2000/svg}circle"))
    assert [float(circle.attrib["cx"]) for circle in circles] == [64.0, 344.0]
    low, high = (float(circle.attrib["cy"]) for circle in circles)
    assert high < low
