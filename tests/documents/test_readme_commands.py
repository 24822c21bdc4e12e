"""Every command and snippet of the README is run here as a reader would run it."""

import datetime as dt
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import promql_parser
import pytest
import yaml

from components import missing, require
from pages import DRIFTMETER, ROOT, blocks, commands, run, some_rows
from programs import LOOPBACK, answers, free_port, running

README = "README.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README's reader has."""
    path = tmp_path_factory.mktemp("readme")
    some_rows(dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 30).write_parquet(path / "train.parquet")
    some_rows(dt.datetime(2026, 6, 1, tzinfo=dt.UTC), 10).write_parquet(path / "june.parquet")
    config = next(block for block in blocks(README, "yaml") if "baseline:" in block)
    (path / "driftmeter.yaml").write_text(config, encoding="utf-8")
    return path


def needs_service(line: str) -> bool:
    """Whether a command starts the service, or looks at what it has written."""
    return " serve " in line or " journal " in line


def test_commands_run_in_the_order_they_are_given(folder: Path) -> None:
    """Baseline, check, analysis: each command of the README succeeds and leaves what it says."""
    lines = [line for line in commands(README) if line.startswith("driftmeter") and not needs_service(line)]
    assert len(lines) >= 5
    output = {line: run(line, folder) for line in lines}
    assert (folder / "price.baseline.parquet").exists()
    assert len(pl.read_json(folder / "findings.json")) > 0
    shown = next(text for line, text in output.items() if "baseline show" in line)
    assert "Baseline of model price version 3" in shown
    assert "driftmeter.yaml: good" in next(text for line, text in output.items() if "config check" in line)


@pytest.fixture
def served(folder: Path) -> Iterator[int]:
    """The service, started by the README's own line; gives the port of /metrics."""
    for port in (4317, 4318, 9464):
        require_free(port)
    line = next(line for line in commands(README) if " serve " in line)
    if not (folder / "price.baseline.parquet").exists():
        run(next(line for line in commands(README) if "baseline build" in line), folder)
    command: list[str | Path] = [DRIFTMETER, *shlex.split(line)[1:-1], folder / shlex.split(line)[-1]]
    environment = {
        "DRIFTMETER_BASELINE__FILES": f"[{folder / 'price.baseline.parquet'}]",
        "DRIFTMETER_JOURNAL__DIRECTORY": str(folder / "driftmeter-data"),  # As if it ran there.
        "DRIFTMETER_JOURNAL__MIN_FREE_BYTES": "0",
    }
    with running(command, folder / "log", lambda: answers("http://127.0.0.1:9464/readyz"), environment) as program:
        yield 9464
        assert program.stop() == 0


def require_free(port: int) -> None:
    """The README's ports are fixed: skips where another program of the user holds one."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, port)) == 0:
            missing(f"port {port}, which the README names, is in use by another program")


def test_instrumented_model_is_counted(served: int, folder: Path) -> None:
    """The README's ten lines, run as they stand, make predictions that /metrics counts and the journal has."""
    snippet = next(block for block in blocks(README, "python") if "TracerProvider" in block)
    script = folder / "server.py"
    use = "\nfor i in range(250):\n    predict(lambda f: f['age'] * 2.0, {'age': 30.0 + i % 20, 'region': 'north'})\n"
    script.write_text(snippet + use + "provider.shutdown()\n", encoding="utf-8")
    subprocess.run([sys.executable, str(script)], check=True)
    page = httpx.get(f"http://127.0.0.1:{served}/metrics").text
    assert 'ml_predictions_total{model="price",version="3"} 250' in page
    assert 'driftmeter_rows_total{outcome="counted"} 250.0' in page
    lines = [line for line in commands(README) if " journal " in line]
    assert len(lines) >= 3
    output = {line: run(line, folder) for line in lines}
    assert "price" in next(text for line, text in output.items() if "inspect" in line)


def test_queries_are_promql_over_our_metrics() -> None:
    """Each pasted query parses and names a metric that is documented."""
    documented = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    queries = [line for block in blocks(README, "promql") for line in block.splitlines()]
    assert queries
    for query in queries:
        promql_parser.parse(query)
        assert f"`{query.partition('{')[0]}`" in documented


def test_collector_snippet_is_valid(tmp_path: Path) -> None:
    """The README's exporter, with the least around it, is a configuration that the Collector accepts."""
    snippet = yaml.safe_load(next(block for block in blocks(README, "yaml") if "exporters:" in block))
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{free_port()}"}}}},
        "extensions": {"file_storage/queue": {"directory": str(tmp_path)}},
        **snippet,
        "service": {
            "extensions": ["file_storage/queue"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_grpc"]}},
        },
    }
    file = tmp_path / "collector.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    subprocess.run([require("otelcol"), "validate", f"--config={file}"], check=True)


def test_the_other_commands_have_tests_of_their_own() -> None:
    """What is too large to run here is run elsewhere: the demo, the compose file, the tests themselves."""
    assert [line for line in commands(README) if not line.startswith("driftmeter")] == ["make test"]
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in ("demo", "test", "setup"):
        assert f"\n{name}:" in targets
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    """Every relative link of the README and the pages it leads to is a file."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
