"""`/metrics`, `/healthz` and `/readyz` over real HTTP."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import numpy as np
import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from components import require
from driftmeter.errors import ConfigError
from driftmeter.export.counters import ResultCounters, bucket_durations
from driftmeter.export.points import empty_points
from driftmeter.export.scrape import ScrapeServer
from driftmeter.export.text import exposition
from driftmeter.telemetry.metrics import Telemetry
from export_samples import KEY, SeriesKey, evaluated, points, series_of


def _everything() -> pl.DataFrame:
    counters = ResultCounters(1)
    counters.add_predictions(KEY, 3, 1, *bucket_durations(np.array([10**6, 10**9, 10**11])))
    counters.add_findings(evaluated(1).findings)
    return pl.concat([evaluated(1).points(0), counters.points(0)])


def _read(text: str) -> dict[SeriesKey, float]:
    """The series of a text, by the parser of another project."""
    return {
        frozenset({"__name__": sample.name, **{k: v for k, v in sample.labels.items() if v}}.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def _serving(results: pl.DataFrame, telemetry: Telemetry, *, ready: bool = True) -> Iterator[str]:
    server = ScrapeServer("127.0.0.1:0", lambda: results, telemetry, lambda: ready)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()


def _get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=10)


def test_metrics_shows_results_and_the_service_itself() -> None:
    """Another project's parser reads every point and the service's own metrics from the page."""
    telemetry = Telemetry("0.1.0")
    telemetry.received_bytes.add(17)
    with _serving(_everything(), telemetry) as url:
        answer = _get(f"{url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = _read(answer.text)
    expected = {key: value for key, (value, _) in series_of(_everything()).items()}
    assert {key: found[key] for key in expected} == expected
    assert found[frozenset({("__name__", "driftmeter_received_bytes_total")})] == 17


def test_promtool_finds_nothing_to_complain_about() -> None:
    """`promtool check metrics` is content with all results."""
    promtool = require("promtool")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=exposition(_everything()), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_label_values_and_numbers_survive() -> None:
    """Quotes, backslashes, line feeds, other scripts and special numbers are read back as they were."""
    names = ['say "hi"', "back\\slash", "line\nfeed", "\\n", "温度", "{a=b}, 1"]
    values = [1e-300, float("inf"), float("-inf"), 0.1 + 0.2, -0.0, 1e22]
    table = points(
        {"metric": "ml_feature_mean", "feature": name, "value": value, "timestamp_ms": 0}
        for name, value in zip(names, values, strict=True)
    )
    assert _read(exposition(table)) == {key: value for key, (value, _) in series_of(table).items()}
    nan = points([{"metric": "ml_feature_mean", "value": float("nan"), "timestamp_ms": 0}])
    assert exposition(nan).endswith("ml_feature_mean{} NaN\n")


def test_each_family_is_announced_once() -> None:
    """HELP and TYPE stand once, before the family's samples, which stand together."""
    lines = exposition(_everything()).splitlines()
    announced = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(announced) == len(set(announced))
    current = ""
    for line in lines:
        if line.startswith("# TYPE"):
            current = line.split()[2]
        elif not line.startswith("#"):
            assert line.startswith(current)


def test_health_and_readiness() -> None:
    """Alive is not ready; unknown pages are 404; HEAD has no body."""
    for ready, status in ((True, 200), (False, 503)):
        with _serving(empty_points(), Telemetry(), ready=ready) as url:
            assert _get(f"{url}/healthz").status_code == 200
            assert _get(f"{url}/readyz").status_code == status
            assert _get(f"{url}/metrics?x=1").status_code == 200
            assert _get(f"{url}/").status_code == 404
            assert httpx.head(f"{url}/healthz", trust_env=False).content == b""


def test_a_port_in_use_says_what_to_change() -> None:
    """Starting on a taken port is the user's mistake, named by its field."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError, match=r"export\.scrape\.listen: cannot listen on 127"):
            ScrapeServer(f"127.0.0.1:{taken.getsockname()[1]}", empty_points, Telemetry(), lambda: True)


def test_an_unknown_host_says_what_to_change() -> None:
    """So is a host name that does not exist here."""
    with pytest.raises(ConfigError, match=r"export\.scrape\.listen"):
        ScrapeServer("no-such-host.invalid:0", empty_points, Telemetry(), lambda: True)


def test_clients_that_go_away_or_say_nothing_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """Half a request, no request and garbage leave the server answering, without a line in the log."""
    with _serving(_everything(), Telemetry()) as url:
        port = int(url.rpartition(":")[2])
        for content in (b"", b"GET /metr", b"\x00\xff\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(content)
        assert _get(f"{url}/metrics").status_code == 200
    assert caplog.records == []
