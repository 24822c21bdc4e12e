"""A run: traffic through a Collector into a service, both killed again and again, and what is there in the end.

Everything is in one directory, with the progress: a run that was interrupted goes on there. Which kills come when
follows from the seed; what they hit depends on the machine's pace.
"""

import json
import random
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from chaos.judging import judge
from chaos.producer import Order, acknowledged_batches
from chaos.programs_killed import Restarted
from chaos.scraping import Floor, Scraper
from chaos.stack import Collector, Service, prepared, producer
from chaos.workload import ROWS, SPANS, Workload
from programs import wait_until

Target = Literal["service", "collector", "both"]
Moment = Literal["running", "starting", "recovering"]
_GO_ON_SECONDS = 180.0
_TARGETS: dict[Target, int] = {"service": 6, "collector": 2, "both": 2}
_MOMENTS: dict[Moment, int] = {"running": 6, "starting": 2, "recovering": 2}
"""How often each is drawn."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill of the schedule.

    Attributes:
        target: What gets SIGKILL.
        moment: After what was killed before has gone on; at once; or when the service has begun to listen and reads
            what it has on disk.
        pause_seconds: Time from then on.
    """

    target: Target
    moment: Moment
    pause_seconds: float

    @classmethod
    def of(cls, seed: int, number: int) -> "Kill":
        """The schedule's kill of this number."""
        drawn = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable.
        (target,) = drawn.choices(list(_TARGETS), list(_TARGETS.values()))
        (moment,) = drawn.choices(list(_MOMENTS), list(_MOMENTS.values()))
        return cls(target, moment, drawn.uniform(0.0, 2.5 if moment == "running" else 1.5))


@dataclass
class Progress:
    """How far a run has got.

    Attributes:
        seed: Of workload and schedule.
        kills: SIGKILLs at moments of the schedule; one that hits both counts once.
        service_kills: Those that hit the service.
        collector_kills: Those that hit the Collector.
        recovery_kills: Those that hit the service before it was ready.
        scrapes: Readings of `/metrics` that were checked.
        floor: The last counters read.
        failures: What scrapes have found wrong.
    """

    seed: int
    kills: int = 0
    service_kills: int = 0
    collector_kills: int = 0
    recovery_kills: int = 0
    scrapes: int = 0
    floor: Floor = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, file: Path, seed: int) -> "Progress":
        """That of an earlier run in the same directory, or a new one."""
        if not file.exists():
            return cls(seed)
        found = cls(**json.loads(file.read_text()))
        assert found.seed == seed, f"{file} is of seed {found.seed}: go on with that, or remove its directory"
        return found

    def write(self, file: Path) -> None:
        """So that a later run can go on."""
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(self), indent=1))
        unfinished.rename(file)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has come to; `differences` is empty when all is as promised.

    Attributes:
        seed: It repeats the schedule and the spans.
        kills: Moments at which something was killed; the next three say what.
        spans: Spans that the Collector acknowledged.
        rows: Their rows.
        duplicates: Spans that came more than once, and were counted once.
        windows: Windows that were compared.
        scrapes: Readings of `/metrics` that were checked.
        ledger: The ledger in the end.
        differences: What was not as promised.
    """

    seed: int
    kills: int
    service_kills: int
    collector_kills: int
    recovery_kills: int
    spans: int
    rows: int
    duplicates: int
    windows: int
    scrapes: int
    ledger: dict[str, int]
    differences: list[str]


class Run:
    """A run in a directory.

    Args:
        directory: Where everything of it is; made when it is not there.
        seed: Of workload and schedule.
        per_second: Batches that are sent a second, about.
    """

    def __init__(self, directory: Path, seed: int, per_second: float = 30.0) -> None:
        self.directory = prepared(directory)
        self._progress_file = directory / "progress.json"
        self.progress = Progress.read(self._progress_file, seed)
        self._workload = Workload(seed)
        self.service = Service(directory)
        self.collector = Collector(directory, self.service.otlp)
        self._acknowledged = directory / "acknowledged.txt"
        order = Order(seed, self.collector.grpc, str(self._acknowledged), per_second=per_second)
        self._producer = producer("producer", order.command(), directory)
        self._scraper = Scraper(self.service, self.progress.floor)

    def disturb(self, kills: int, on_kill: Callable[[int], None] = lambda _: None) -> None:
        """Let traffic flow and kill until so many kills have been made in all."""
        programs = {"service": self.service.program, "collector": self.collector.program}
        for program in (*programs.values(), self._producer):
            program.start()
        self.service.program.wait_until_ready()
        while self.progress.kills < kills:
            kill = Kill.of(self.progress.seed, self.progress.kills)
            self._await_moment(kill)
            hit = [program for name, program in programs.items() if kill.target in (name, "both")]
            self._count(kill, recovering=not self.service.program.ready)
            for program in hit:
                program.kill()
            for program in hit:
                program.start()
            self._save()
            on_kill(self.progress.kills)

    def finish(self) -> Result:
        """Let all arrive, kill a last time, and compare."""
        for program in (self.service.program, self.collector.program):
            program.wait_until_ready()
        assert self._producer.stop() == 0, self._producer.log_tail()
        batches = acknowledged_batches(self._acknowledged)
        verdict = judge(self.service, [self.collector], self._workload, batches)
        self._save()
        progress = self.progress
        return Result(
            progress.seed,
            progress.kills,
            progress.service_kills,
            progress.collector_kills,
            progress.recovery_kills,
            len(batches) * SPANS,
            len(batches) * ROWS,
            verdict.ledger["duplicate"],
            verdict.windows,
            progress.scrapes,
            verdict.ledger,
            progress.failures + verdict.differences,
        )

    def close(self) -> None:
        """End everything that runs. Safe to call twice."""
        self._scraper.close()
        self._save()
        for program in (self._producer, self.collector.program, self.service.program):
            program.end()

    def explain(self) -> str:
        """The ends of all logs."""
        programs: list[Restarted] = [self.service.program, self.collector.program, self._producer]
        return "\n".join(program.log_tail() for program in programs)

    def _await_moment(self, kill: Kill) -> None:
        """The next kill's time."""
        if kill.moment == "recovering":
            wait_until("the service listens", lambda: self.service.listening, _GO_ON_SECONDS)
        if kill.moment == "running":
            self.service.program.wait_until_ready()
            self.collector.program.wait_until_ready()
            before = self._received()
            wait_until("spans are received", lambda: self._received() > before, _GO_ON_SECONDS)
        threading.Event().wait(kill.pause_seconds)
        for program in (self.service.program, self.collector.program, self._producer):
            program.assert_alive()

    def _received(self) -> float:
        metrics = self.service.metrics()
        return metrics.total("driftmeter_spans_total", outcome="received") if metrics else -1.0

    def _count(self, kill: Kill, *, recovering: bool) -> None:
        self.progress.kills += 1
        self.progress.collector_kills += kill.target != "service"
        self.progress.service_kills += kill.target != "collector"
        self.progress.recovery_kills += kill.target != "collector" and recovering

    def _save(self) -> None:
        self.progress.scrapes += self._scraper.scrapes
        self._scraper.scrapes = 0
        self.progress.failures += self._scraper.failures
        self._scraper.failures.clear()
        self.progress.floor = dict(self._scraper.floor)
        self.progress.write(self._progress_file)
