"""A Collector that is cut off for half an hour while another one goes on."""

from pathlib import Path

from chaos.evaluations import Evaluation, WindowName, last_of_each, read_evaluations
from chaos.judging import judge
from chaos.producer import Order, acknowledged_batches
from chaos.relay import Relay
from chaos.scraping import Scraper
from chaos.stack import Collector, Ports, Service, prepared, producer
from chaos.traffic import counted, explained
from chaos.workload import BATCH_NS, SPANS, START_NS, Workload
from programs import wait_until

SEED = 7
MINUTE_NS = 60 * 10**9
CUT, BACK, END = 200, 2_000, 2_100
"""Batches, which are seconds of event time: 30 minutes from the cut until the connection is back."""
SECONDS = 120.0


class Sender:
    """Sends every other batch through one Collector.

    Args:
        directory: Of the test.
        collector: Through which.
        offset: 0 for the even batches, 1 for the odd ones.
    """

    def __init__(self, directory: Path, collector: Collector, offset: int) -> None:
        self._collector, self._offset = collector, offset
        self._file = directory / f"acknowledged-{offset}.txt"
        self.program = producer(f"producer-{offset}", [], directory)

    def begin(self, end: int) -> None:
        """Send all before this batch that are not acknowledged yet."""
        order = Order(SEED, self._collector.grpc, str(self._file), self._offset, 2, end, per_second=100)
        self.program.command = order.command()
        self.program.start()

    def wait(self) -> None:
        """Returns when the Collector has acknowledged all."""
        wait_until("all batches are acknowledged", lambda: not self.program.running, SECONDS)

    def acknowledged(self) -> list[int]:
        """Numbers of the acknowledged batches."""
        return acknowledged_batches(self._file)


def test_a_backlog_of_half_an_hour_is_counted_as_if_it_had_come_in_time(tmp_path: Path) -> None:
    """Windows were evaluated without it; it comes by 4 consumers, with kills in between: none late, all windows right.

    The service is killed while the backlog drains, then the Collector that had it.
    """
    directory = prepared(tmp_path / "run")
    service = Service(directory)
    relay = Relay(Ports(directory)["relay"], service.otlp)
    cut_off = Collector(directory, Ports(directory)["relay"], name="collector-cut-off")
    steady = Collector(directory, service.otlp, name="collector-steady")
    senders = [Sender(directory, cut_off, 0), Sender(directory, steady, 1)]
    relay.mend()
    with explained(service.program, cut_off.program, steady.program, *(each.program for each in senders)):
        for program in (service.program, cut_off.program, steady.program):
            program.start()
        for program in (service.program, cut_off.program, steady.program):
            program.wait_until_ready()
        scraper = Scraper(service)
        send(senders, CUT)
        wait_until("all is counted", lambda: counted(service) == CUT * SPANS, SECONDS)

        relay.cut()
        send(senders, BACK)
        others = CUT + (BACK - CUT) // 2
        wait_until("what is not cut off is counted", lambda: counted(service) == others * SPANS, SECONDS)
        wait_until("its windows are evaluated", lambda: len(evaluated_minutes(service)) > 25, SECONDS)
        without = evaluated_minutes(service).keys()

        service.slow_down(seconds_per_span=1 / 20_000)  # So that there is a middle.
        relay.mend()
        wait_until("the backlog drains", lambda: counted(service) > (others + 100) * SPANS, SECONDS)
        service.program.kill()
        service.program.start()
        service.program.wait_until_ready()
        wait_until("it goes on", lambda: counted(service) > (others + 300) * SPANS, SECONDS)
        assert counted(service) < BACK * SPANS, "the kills were to come in the middle"
        cut_off.program.kill()
        cut_off.program.start()
        service.slow_down()
        send(senders, END)

        batches = sorted(batch for sender in senders for batch in sender.acknowledged())
        assert batches == list(range(END))
        verdict = judge(service, [cut_off, steady], Workload(SEED), batches)
        scraper.close()
    assert verdict.differences + scraper.failures == []
    assert verdict.ledger["late"] == 0
    assert all(each.revision > 0 for each in evaluated_minutes(service).values() if each.name in without)


def send(senders: list[Sender], end: int) -> None:
    """Send what comes before this batch."""
    for sender in senders:
        sender.begin(end)
    for sender in senders:
        sender.wait()


def evaluated_minutes(service: Service) -> dict[WindowName, Evaluation]:
    """The last evaluations of the minutes that lie in the outage."""
    first_ns, last_ns = START_NS + CUT * BATCH_NS, START_NS + BACK * BATCH_NS - MINUTE_NS
    return {
        name: each
        for name, each in last_of_each(read_evaluations(service.evaluations)).items()
        if name.window == "1m" and first_ns <= name.start_ns <= last_ns
    }
