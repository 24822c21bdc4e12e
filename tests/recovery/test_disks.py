"""The service as a process on disks that are full, read-only, in use or damaged."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from components import missing
from driftmeter.clock import SystemClock
from driftmeter.journal.lock import DirectoryLock
from otlp_samples import Scalar
from programs import answers, running, wait_until
from service_process import DRIFTMETER, ServiceProcess, assert_ledger_holds, complete, refused_start, run_service
from spans import channel_to, export_over, identity, request_of

MIB = 1024 * 1024
MODEL = identity("prices")


def rows_now(count: int, first_number: int) -> bytes:
    """A request of predictions that end now."""
    rows: list[dict[str, Scalar]] = [
        {"ml.feature.size": float(number % 7), "ml.feature.text": "x" * 200} for number in range(count)
    ]
    return request_of(rows, [SystemClock().now_ns()] * count, MODEL, first_number)


@contextmanager
def mounted(directory: Path, *options: str) -> Iterator[None]:
    """A file system in memory at this directory; the test is skipped where it may not be made."""
    directory.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        missing("only root may mount a file system, and not in every container")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path) -> Path:
    """A file that takes all room that is left."""
    file = directory / "filler"
    with file.open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            return file
    raise AssertionError("the disk is never full")


def refused_over_grpc(service: ServiceProcess, request: bytes) -> None:
    """Sent over gRPC it is refused, with words on when to try again."""
    with channel_to(service.otlp) as channel, pytest.raises(grpc.RpcError) as refused:
        export_over(channel, request)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    status = rpc_status.from_call(refused.value)
    assert status is not None
    (detail,) = status.details
    assert isinstance(detail, any_pb2.Any)
    again = error_details_pb2.RetryInfo()
    assert detail.Unpack(again)
    assert again.retry_delay.seconds == 1


def post(service: ServiceProcess, request: bytes) -> httpx.Response:
    """Sent over HTTP."""
    headers = {"content-type": "application/x-protobuf"}
    url = f"http://{service.otlp_http}/v1/traces"
    return httpx.post(url, content=request, headers=headers, trust_env=False, timeout=30)


@pytest.mark.parametrize("min_free_bytes", [0, 2 * MIB], ids=["to the last byte", "with some room left"])
def test_a_full_disk_refuses_until_there_is_room(tmp_path: Path, min_free_bytes: int) -> None:
    """Senders are told to try again, nothing crashes, and everything is counted once when there is room again."""
    state = tmp_path / "state"
    journal = {"directory": str(state / "journal"), "min_free_bytes": min_free_bytes, "snapshot_interval": "1s"}
    with mounted(state, "size=12m"), run_service({"journal": journal}, tmp_path) as service:
        first, *others = (rows_now(400, 1_000 * number) for number in range(5))
        with channel_to(service.otlp) as channel:
            export_over(channel, first)
        filler = fill(state)
        for _ in range(2):
            for request in others:
                refused_over_grpc(service, request)
                answer = post(service, request)
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        metrics = service.metrics()
        assert metrics.total("driftmeter_requests_refused_total", reason="disk_full") >= 16
        assert metrics.total("driftmeter_spans_total", outcome="received") == 400
        assert answers(f"{service.pages}/healthz")
        filler.unlink()
        with channel_to(service.otlp) as channel:
            for request in (first, *others):
                export_over(channel, request)
        expect_rows(service, accepted=2_400, duplicates=400)
        wait_until("there is a snapshot", lambda: _snapshots(service) > 0)
        service.program.process.kill()
        service.program.process.wait()
        with run_service({"journal": journal}, tmp_path) as again:
            expect_rows(again, accepted=2_400, duplicates=400)


def _snapshots(service: ServiceProcess) -> float:
    return service.metrics().total("driftmeter_snapshots_total", result="ok")


def expect_rows(service: ServiceProcess, accepted: int, duplicates: int) -> None:
    """What was accepted is in the accounts."""
    metrics = service.metrics()
    assert_ledger_holds(metrics)
    assert metrics.total("driftmeter_spans_total", outcome="accepted") == accepted
    assert metrics.total("driftmeter_rows_total", outcome="duplicate") == duplicates
    assert metrics.total("driftmeter_pending_rows") == accepted - duplicates


def test_a_directory_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    """Exit code 2, and a message that names the directory and says what to do."""
    state = tmp_path / "state"
    with mounted(state, "ro"):
        done = refused_start({"journal": {"directory": str(state / "journal")}}, tmp_path)
        assert done.returncode == 2, done.stderr
        assert f"journal.directory {state / 'journal'} cannot be written: Read-only file system" in done.stderr
        assert "Traceback" not in done.stderr
        on_it = refused_start({"journal": {"directory": str(state)}}, tmp_path)
        assert (on_it.returncode, "Read-only file system" in on_it.stderr) == (2, True)


def test_a_directory_in_use_stops_the_start(tmp_path: Path) -> None:
    """Exit code 2, and a message that names the process that has it."""
    state = tmp_path / "journal"
    with DirectoryLock.take(state):
        done = refused_start({"journal": {"directory": str(state)}}, tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"journal.directory {state} is in use by process {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_journal_stops_the_start_until_its_loss_is_accepted(tmp_path: Path) -> None:
    """Exit code 1 and the file's name; `--accept-loss` starts, counts what is gone, and takes it when sent again."""
    state = tmp_path / "journal"
    requests = [rows_now(50, 100 * number) for number in range(6)]
    with run_service({}, tmp_path) as service:
        with channel_to(service.otlp) as channel:
            for request in requests:
                export_over(channel, request)
        service.program.process.kill()
        service.program.process.wait()
    (segment,) = (state / "journal").iterdir()
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 4
    segment.write_bytes(data)
    done = refused_start({"journal": {"directory": str(state)}}, tmp_path)
    assert done.returncode == 1, done.stderr
    assert str(segment) in done.stderr.replace("\n", "")
    assert "--accept-loss" in done.stderr
    assert "Traceback" not in done.stderr
    with accepting_loss({"journal": {"directory": str(state)}}, tmp_path) as service:
        metrics = service.metrics()
        assert_ledger_holds(metrics)
        assert metrics.total("driftmeter_journal_lost_entries_total") == 1
        assert metrics.total("driftmeter_spans_total", outcome="accepted") == 250
        with channel_to(service.otlp) as channel:
            for request in requests:
                export_over(channel, request)
        expect_rows(service, accepted=550, duplicates=250)
        assert "lost, as accepted" in service.log_text()


@contextmanager
def accepting_loss(config: dict[str, Any], directory: Path) -> Iterator[ServiceProcess]:
    """`driftmeter serve --accept-loss` until the block ends."""
    whole = complete(config, directory)
    file = directory / "driftmeter.yaml"
    file.write_text(yaml.safe_dump(whole))
    pages = f"http://{whole['export']['scrape']['listen']}"
    command = [*DRIFTMETER, "serve", "--config", str(file), "--accept-loss"]
    with running(command, directory / "accepting.log", lambda: answers(f"{pages}/readyz")) as program:
        yield ServiceProcess(program, whole["ingest"]["grpc"]["listen"], whole["ingest"]["http"]["listen"], pages)
