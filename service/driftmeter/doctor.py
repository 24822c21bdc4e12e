"""Is everything there that the service needs, and does a span come through? Looks, and changes nothing.

configuration ─► disk ─► ports or the running service ─► destinations ─► baselines ─► a span through it
"""

import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import httpx

from driftmeter.archived import ArchivedReference, archived_reference
from driftmeter.baseline.book import BaselineBook, baseline_paths
from driftmeter.baseline.embeddings import embeddings_of
from driftmeter.baseline.file import read_baseline
from driftmeter.baseline.fitting import differences
from driftmeter.calibrate import cells_to_replay
from driftmeter.clock import Clock
from driftmeter.config import Config
from driftmeter.errors import BaselineError
from driftmeter.journal.archive_layout import HOUR_NS, hours
from driftmeter.journal.files import RealFiles
from driftmeter.model.baseline import Baseline
from driftmeter.model.predictions import ModelKey
from driftmeter.model.segments import values_of
from driftmeter.model.settings import split_address
from driftmeter.overrides import ModelConfig
from driftmeter.preparing import SAID_CELLS_MIN
from driftmeter.references import shortcomings

_TIMEOUT_SECONDS = 3.0
_SPAN_SECONDS = 5.0
_GIB = 1 << 30
_EMPTY_WRITE = b"\x00"  # An empty message in snappy's block format: nothing to store.


class State(StrEnum):
    """What a check came to."""

    OK = "ok"
    PROBLEM = "problem"
    NOTE = "note"
    """Nothing is wrong, but it is worth to know."""


class Checkup(NamedTuple):
    """One thing that was looked at.

    Attributes:
        what: What it is.
        state: What it came to.
        said: What was found.
        to_do: What to do about it; empty when nothing.
    """

    what: str
    state: State
    said: str
    to_do: str = ""


@dataclass(frozen=True)
class Doctor:
    """Looks at one configuration.

    Attributes:
        config: The service's configuration.
        clock: The time.
    """

    config: Config
    clock: Clock

    def look(self) -> Iterator[Checkup]:
        """All checks, one after the other."""
        yield from self._disk()
        page = self._page("/metrics")
        yield from self._running() if page is not None else self._ports()
        yield from self._destinations()
        yield from self.baselines()
        if page is not None:
            yield from self._told(page)
            yield self._round_trip()

    # Disk.

    def _disk(self) -> Iterator[Checkup]:
        journal = self.config.journal
        if journal.directory is None:
            yield Checkup("disk", State.NOTE, "journal.directory is null: nothing is kept over a restart")
            return
        there = next(each for each in (journal.directory, *journal.directory.resolve().parents) if each.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            said = f"{there} cannot be written"
            yield Checkup("disk", State.PROBLEM, said, "run this as the user of the service, or change its rights")
            return
        free_bytes = shutil.disk_usage(there).free
        said = f"{journal.directory}: {free_bytes / _GIB:.1f} GiB free"
        if free_bytes < journal.min_free_bytes:
            to_do = f"make room: below {journal.min_free_bytes / _GIB:.1f} GiB (journal.min_free_bytes) data is refused"
            yield Checkup("disk", State.PROBLEM, said, to_do)
        else:
            yield Checkup("disk", State.OK, said)

    # Ports.

    def _listens(self) -> list[tuple[str, str]]:
        """Names and addresses that the service listens on."""
        ingest, scrape = self.config.ingest, self.config.export.scrape
        named = (
            ("OTLP/gRPC", ingest.grpc.listen),
            ("OTLP/HTTP", ingest.http.listen),
            ("/metrics", scrape.listen),
        )
        return [(name, address) for name, address in named if address is not None]

    def _ports(self) -> Iterator[Checkup]:
        """Nobody answers: the ports should be free."""
        yield Checkup("service", State.NOTE, "is not running here", "start it: driftmeter serve")
        for name, address in self._listens():
            try:
                _bind(address)
                yield Checkup(f"port {name}", State.OK, f"{address} is free")
            except OSError as error:
                to_do = "stop what uses it, or configure another address"
                yield Checkup(f"port {name}", State.PROBLEM, f"{address}: {error.strerror or error}", to_do)

    def _running(self) -> Iterator[Checkup]:
        ready = self._page("/readyz") is not None
        said = "is running and ready" if ready else "is running and not ready"
        to_do = "" if ready else "wait until it has recovered; its log says how far it is"
        yield Checkup("service", State.OK if ready else State.PROBLEM, said, to_do)
        for name, address in self._listens():
            error = _connect(address)
            if error:
                to_do = "is another configuration running, or a firewall between?"
                yield Checkup(f"port {name}", State.PROBLEM, f"{address}: {error}", to_do)
            else:
                yield Checkup(f"port {name}", State.OK, f"{address} answers")

    def _page(self, path: str) -> str | None:
        """A page of the service; None when there is none."""
        listen = self.config.export.scrape.listen
        if listen is None:
            return None
        try:
            answer = httpx.get(f"http://{_reachable(listen)}{path}", timeout=_TIMEOUT_SECONDS, trust_env=False)
        except httpx.HTTPError:
            return None
        return answer.text if answer.is_success else None

    # Destinations.

    def _destinations(self) -> Iterator[Checkup]:
        export = self.config.export
        if export.otlp.endpoint is not None:
            error = _connect(export.otlp.endpoint)
            if error:
                to_do = "is the Collector running, and its OTLP/gRPC receiver at this address?"
                yield Checkup("Collector", State.PROBLEM, f"{export.otlp.endpoint}: {error}", to_do)
            else:
                yield Checkup("Collector", State.OK, f"{export.otlp.endpoint} answers")
        if export.remote_write.url is not None:
            yield self._remote_write(export.remote_write.url)
        if export.otlp.endpoint is None and export.remote_write.url is None:
            scrape = f"only /metrics on {export.scrape.listen}" if export.scrape.listen else "nowhere"
            state = State.NOTE if export.scrape.listen else State.PROBLEM
            to_do = "" if export.scrape.listen else "set export.remote_write.url, export.otlp.endpoint or export.scrape"
            yield Checkup("destinations", state, f"results go {scrape}", to_do)

    def _remote_write(self, url: str) -> Checkup:
        config = self.config.export.remote_write
        headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
            **config.headers,
        }
        try:
            if config.bearer_token_file is not None:
                token = Path(config.bearer_token_file).read_text(encoding="utf-8").strip()
                headers["Authorization"] = f"Bearer {token}"
            answer = httpx.post(url, content=_EMPTY_WRITE, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)
        except OSError as error:
            said = f"{config.bearer_token_file}: {error.strerror or error}"
            return Checkup("Prometheus", State.PROBLEM, said, "name the file of the token")
        except httpx.HTTPError as error:
            to_do = "is it running, and reachable from here?"
            return Checkup("Prometheus", State.PROBLEM, f"{url}: {error or type(error).__name__}", to_do)
        said = f"{url} answers {answer.status_code}"
        if answer.is_success:
            return Checkup("Prometheus", State.OK, said)
        to_do = {
            401: "its credentials are missing or wrong: export.remote_write.headers or bearer_token_file",
            403: "its credentials may not write",
            404: "start Prometheus with --web.enable-remote-write-receiver, or correct the path",
        }.get(answer.status_code, "look into its log")
        return Checkup("Prometheus", State.PROBLEM, said, to_do)

    # Baselines.

    def baselines(self) -> Iterator[Checkup]:
        """Whether the files can be used, and fit the columns of what the archive has of each model."""
        book = BaselineBook()
        for path in baseline_paths(self.config.baseline.files):
            try:
                baseline = read_baseline(path)
                book.add(baseline)
            except BaselineError as error:
                yield Checkup("baseline", State.PROBLEM, str(error), "the message says what to do")
                continue
            version = f" version {baseline.version}" if baseline.version else ", any version"
            said = f"{path}: model {baseline.model}{version}, {baseline.rows:,} rows, {len(baseline.columns)} columns"
            yield self._usable(path, baseline, said)
        for key, rows in self._archived():
            other = self.config.for_model(key).baseline.other_version  # Its rows are counted in that version's bins.
            yield self._fitting(key, rows, book.find(key.model, other or key.version))

    def _usable(self, path: Path, baseline: Baseline, said: str) -> Checkup:
        own = self.config.for_model(ModelKey(baseline.model, baseline.version, ""))
        for has, to_do in self._lacking(baseline, own):
            return Checkup("baseline", State.PROBLEM, f"{said}{has}", to_do)
        if baseline.start_ns is None:
            return Checkup("baseline", State.NOTE, f"{said}, no times", "build it with --timestamp to have verdicts")
        if cells_to_replay(baseline, own) >= SAID_CELLS_MIN:
            to_do = (
                f"driftmeter baseline calibrate {path} --config with this configuration; else the service works it out "
                "at each start, and windows wait for it"
            )
            return Checkup("baseline", State.NOTE, f"{said}, no level for these settings", to_do)
        return Checkup("baseline", State.OK, said)

    def _lacking(self, baseline: Baseline, own: ModelConfig) -> Iterator[tuple[str, str]]:
        """What a baseline does not have that the configuration asks for, and what to do, each in words."""
        for each in shortcomings(baseline, own.baseline):
            yield "", each
        for segment, most in own.segments.items():
            values = values_of(baseline.segments, segment)
            how = f"driftmeter baseline build --segment {segment} --segment-values {most}"
            if not values:
                to_do = f"build it with: {how}; without, nothing is said of segments.{segment} (no_baseline)"
                yield f", no segments of {segment}", to_do
            elif len(values) > most:
                to_do = f"build it with: {how}; else the others have nothing to be compared with (no_baseline)"
                yield f", {len(values)} segments of {segment} and segments.{segment} is {most}", to_do
        unmarked = [
            name
            for name in embeddings_of(baseline)
            if not any(fnmatchcase(name, glob) for glob in self.config.attributes.embeddings)
        ]
        if unmarked:
            to_do = "without it each element of its arrays is a row of its own, and nothing is compared"
            has = f", and attributes.embeddings does not name {', '.join(unmarked)}, which it knows as embeddings"
            yield has, f"name it there; {to_do}"

    def _archived(self) -> Iterator[tuple[ModelKey, ArchivedReference]]:
        """Models of the archive, with their rows of the last hour."""
        directory = self.config.journal.directory
        archive = None if directory is None else directory / "archive"
        if archive is None or not archive.is_dir():
            return
        newest: dict[ModelKey, int] = {}
        with suppress(OSError):
            for each in hours(RealFiles(), archive):
                newest[each.key] = max(each.hour, newest.get(each.key, each.hour))
        for key, hour in sorted(newest.items()):
            with suppress(BaselineError):
                yield key, archived_reference(archive, *key, hour * HOUR_NS, (hour + 1) * HOUR_NS)

    def _fitting(self, key: ModelKey, rows: ArchivedReference, baseline: Baseline | None) -> Checkup:
        what = "model " + " ".join(filter(None, (key.model, key.version and f"version {key.version}", key.stage)))
        if baseline is None:
            to_do = f"driftmeter baseline build --from-archive {key.model}, or from training data"
            said = "has no baseline file: it learns one, which carries no verdict for a week"
            if self.config.for_model(key).segments:
                said += " and has no segments"
            return Checkup(what, State.PROBLEM, said, to_do)
        lines = differences(baseline, rows.kinds, rows.empty())
        if lines:
            to_do = "build a baseline of rows like these, or correct what is sent"
            return Checkup(what, State.PROBLEM, "; ".join(lines), to_do)
        return Checkup(what, State.OK, "has a baseline with the same columns")

    # The running service.

    def _told(self, page: str) -> Iterator[Checkup]:
        """What its own metrics say."""
        without = _number(page, "driftmeter_models_without_baseline")
        if without:
            to_do = "see docs: baselines; or wait until they have learned one"
            yield Checkup("models", State.PROBLEM, f"{without:.0f} models have no baseline at all yet", to_do)
        alone = _number(page, "driftmeter_models_without_version")
        if alone:
            said = f"{alone:.0f} models are not compared with the version that is configured"
            to_do = "send that version's rows too, and give it a baseline; or take the reference out"
            yield Checkup("versions", State.PROBLEM, said, to_do)
        quarantined = _number(page, "driftmeter_quarantined_batches")
        if quarantined:
            to_do = "driftmeter journal quarantine list"
            yield Checkup("quarantine", State.PROBLEM, f"{quarantined:.0f} batches could not be digested", to_do)

    def _round_trip(self) -> Checkup:
        """A span that says nothing of a model, so that it changes no result, is received and counted as ignored."""
        listen = self.config.ingest.http.listen
        if listen is None:
            return Checkup("a span", State.NOTE, "is not sent: ingest.http.listen is null")
        before = self._ignored()
        scheme = "http" if self.config.ingest.tls is None else "https"
        try:
            headers = self._credentials()
            answer = httpx.post(
                f"{scheme}://{_reachable(listen)}/v1/traces",
                content=_span(self.clock.now_ns()),
                headers={"Content-Type": "application/json", **headers},
                timeout=_TIMEOUT_SECONDS,
                trust_env=False,
                verify=False,  # noqa: S501 - it is this machine's own service that is asked.
            )
        except (httpx.HTTPError, OSError) as error:
            return Checkup("a span", State.PROBLEM, f"could not be sent: {error}", "its log says more")
        if not answer.is_success:
            said = f"was answered {answer.status_code}: {answer.text[:200].strip()}"
            return Checkup("a span", State.PROBLEM, said, "its log says more")
        until = self.clock.monotonic_seconds() + _SPAN_SECONDS
        while self.clock.monotonic_seconds() < until:
            if self._ignored() > before:
                return Checkup("a span", State.OK, "was sent, received and counted")
            time.sleep(0.05)
        return Checkup("a span", State.PROBLEM, "was taken and is not counted", "its log says more")

    def _ignored(self) -> float:
        page = self._page("/metrics") or ""
        return _number(page, 'driftmeter_spans_total{outcome="ignored",reason="not_feature_bearing"}')

    def _credentials(self) -> dict[str, str]:
        """The first of the tokens that senders may show."""
        file = self.config.ingest.bearer_tokens_file
        if file is None:
            return {}
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        tokens = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        return {"Authorization": f"Bearer {tokens[0]}"} if tokens else {}


def _reachable(listen: str) -> str:
    """The address at which this machine reaches what listens there."""
    host, port = split_address(listen)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not listened on.
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind(listen: str) -> None:
    """Raises OSError when nobody can listen there."""
    host, port = split_address(listen)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((host, port))


def _connect(address: str) -> str:
    """What keeps somebody from connecting there; empty when nothing does."""
    try:
        socket.create_connection(split_address(_reachable(address)), _TIMEOUT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _number(page: str, series: str) -> float:
    """A series of a page in Prometheus' text format; 0 when it has none."""
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        if name == series:
            return float(value)
    return 0.0


def _span(now_ns: int) -> bytes:
    span = {
        "traceId": secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": "driftmeter doctor",
        "kind": 1,
        "startTimeUnixNano": str(now_ns - 1),
        "endTimeUnixNano": str(now_ns),
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
