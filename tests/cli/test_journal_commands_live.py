"""`driftmeter journal` beside a service that runs: what it is shown, and what the service does when asked."""

import json
from pathlib import Path

import httpx

from driftmeter.journal.files import RealFiles
from driftmeter.journal.quarantine import DiskQuarantine
from driftmeter.model.request import Request, Signal
from otlp_samples import usual_request
from programs import wait_until
from service_process import ServiceProcess, assert_ledger_holds, driftmeter, run_service

SPANS = 200


def send(service: ServiceProcess, seed: int) -> None:
    """One request over HTTP."""
    answer = httpx.post(
        f"http://{service.otlp_http}/v1/traces",
        content=usual_request(SPANS, seed),
        headers={"content-type": "application/x-protobuf"},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == httpx.codes.OK


def test_commands_beside_a_running_service(tmp_path: Path) -> None:
    """The archive fills while it runs, everything is whole, and what is in quarantine is taken when asked for."""
    state = tmp_path / "state"
    config = {
        "journal": {"directory": str(state), "segment_bytes": 100_000, "snapshot_interval": "1s"},
        "window": {"clock": "data"},
    }
    with run_service(config, tmp_path) as service:
        for seed in range(3):
            send(service, seed)
        quarantine = DiskQuarantine(RealFiles(), state / "quarantine", 1 << 20)
        quarantine.keep(Request(Signal.TRACES, usual_request(SPANS, seed=99)), SPANS, ValueError("no idea"), 0)
        assert driftmeter("journal", "verify", "--directory", state).returncode == 0
        ran = driftmeter("journal", "quarantine", "retry", "--all", "--directory", state)
        assert (ran.returncode, ran.stdout) == (0, "1: will be tried again\n")
        wait_until("it was taken", lambda: accepted(service) == 4 * SPANS)
        wait_until("it is out of quarantine", lambda: not len(quarantine))
        seed = 100
        while not archived(state):  # Each snapshot is followed by a segment that the older one covers.
            send(service, seed := seed + 1)
        assert_ledger_holds(service.metrics())
        ran = driftmeter("journal", "verify", "--directory", state)
        assert ran.returncode == 0, ran.stdout
    found = json.loads(driftmeter("journal", "inspect", "--directory", state, "--json").stdout)
    (model,) = found["models"]
    assert model["model"] == "flights"
    assert model["span_keys"] + model["tail_spans"] >= 4 * SPANS
    assert found["archive"][0]["rows"] > 0


def accepted(service: ServiceProcess) -> float:
    """Spans that the service has accepted."""
    return service.metrics().total("driftmeter_spans_total", outcome="accepted")


def archived(state: Path) -> int:
    """Files in the archive."""
    return len(list((state / "archive").rglob("*.parquet")))
