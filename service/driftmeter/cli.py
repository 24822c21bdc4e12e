"""Commands, their arguments and their exit codes.

Exit codes: 0 done (drift or not), 1 a fault of this program, 2 a mistake in arguments, configuration or files.
"""

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import polars as pl
import typer
from rich.console import Console

from driftmeter import __version__
from driftmeter.analyze import analyze as analyze_files
from driftmeter.app import serve as serve_until_stopped
from driftmeter.app import warm_up as warm_up_kernels
from driftmeter.baseline.build import DEFAULT_WINDOWS, build_baseline
from driftmeter.baseline.data import ColumnOptions, read_dataset, read_datasets
from driftmeter.baseline.file import read_baseline, write_baseline
from driftmeter.config import Config, load_config
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import ConfigError, DriftmeterError
from driftmeter.journal_commands import journal_app
from driftmeter.model.windows import parse_window
from driftmeter.telemetry.logs import setup as setup_logs
from driftmeter.terminal import baseline_table, findings_table, progress_bar

app = typer.Typer(
    name="driftmeter",
    help="Watch machine-learning models in production: OpenTelemetry spans in, drift as Prometheus metrics out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
baseline_app = typer.Typer(help="Make and look at baselines: what a model's columns look like when all is well.")
config_app = typer.Typer(help="Check and document the service's configuration.")
app.add_typer(baseline_app, name="baseline", no_args_is_help=True)
app.add_typer(config_app, name="config", no_args_is_help=True)
app.add_typer(journal_app, name="journal", no_args_is_help=True)

_out = Console()
_err = Console(stderr=True)


def main() -> NoReturn:
    """Run the command line; mistakes of the user end with a message and exit code 2."""
    try:
        app()
    except DriftmeterError as error:
        _err.print(f"driftmeter: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    sys.exit(0)


Timestamp = Annotated[
    str | None,
    typer.Option(help="Column with the time of each prediction. Times without a zone are read as UTC.", metavar="C"),
]
Prediction = Annotated[
    list[str] | None,
    typer.Option(help="Column with what the model answered; COLUMN=NAME when spans call it NAME. Repeatable.",
                 metavar="C"),
]  # fmt: skip
Probability = Annotated[
    list[str] | None,
    typer.Option(help="Column with the probability of a class; COLUMN=CLASS names the class. Repeatable.",
                 metavar="C"),
]  # fmt: skip
Label = Annotated[list[str] | None, typer.Option(help="Column with the truth: not a feature. Repeatable.", metavar="C")]
Ignore = Annotated[list[str] | None, typer.Option(help="Column to leave out. Repeatable.", metavar="C")]
Model = Annotated[str | None, typer.Option(help="The model's name, as in the spans' ml.model.name.")]
Version = Annotated[
    str | None, typer.Option(help="Its version, as in ml.model.version. Left out: any version without its own.")
]


class LogLevel(StrEnum):
    """Levels of log lines."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer's callback.
    if value:
        _out.print(f"driftmeter {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: FBT002 - handled by the callback.
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: Annotated[Path | None, typer.Option(help="YAML file; without it, defaults and environment.")] = None,
    log_level: Annotated[LogLevel, typer.Option(help="Least level written.", case_sensitive=False)] = LogLevel.INFO,
    accept_loss: Annotated[  # noqa: FBT002 - a flag.
        bool, typer.Option("--accept-loss", help="Start although part of the journal is damaged, and go on without it.")
    ] = False,
) -> None:
    """Run the service until it is told to stop (SIGTERM, Ctrl-C).

    What it accepts is on disk, in the directory that journal.directory names, before it is acknowledged; a service that
    is started anew goes on where the last one was, however that ended.

    Example: driftmeter serve --config driftmeter.yaml
    """
    setup_logs(log_level.value)
    serve_until_stopped(load_config(config), accept_loss=accept_loss)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the baseline and the findings.")] = Path("demo-out"),
    listen: Annotated[str, typer.Option(help="Address for OTLP.")] = "127.0.0.1:4317",
    scrape: Annotated[str, typer.Option(help="Address for /metrics.")] = "127.0.0.1:9464",
) -> None:
    """See it work: a real model, a real year of flights, real drift; needs nothing else to run.

    Trains a small model on January and February, serves the other months through it with the OpenTelemetry SDK, and
    shows which features and predictions drift. Needs the extra packages of `pip install driftmeter[demo]`.
    """
    from driftmeter.demo.show import run_demo  # noqa: PLC0415 - needs the demo's extra packages.

    run_demo(out, listen, scrape)


@baseline_app.command("build")
def baseline_build(  # noqa: PLR0913 - the options of one command.
    data: Annotated[Path, typer.Option(help="Parquet or CSV file with rows of good times, often the training data.")],
    model: Annotated[str, typer.Option(help="The model's name, as in the spans' ml.model.name.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    version: Version = None,
    timestamp: Timestamp = None,
    prediction: Prediction = None,
    probability: Probability = None,
    label: Label = None,
    ignore: Ignore = None,
    window: Annotated[
        list[str] | None,
        typer.Option(help=f"Window length to calibrate for: 5m, 24h, 5000rows. Repeatable. "
                     f"[default: {', '.join(DEFAULT_WINDOWS)}]", metavar="W"),
    ] = None,
) -> None:  # fmt: skip
    """Build a baseline from a file of rows; every column not named by an option is a feature.

    Example: driftmeter baseline build --data train.parquet --model price --version 3 --timestamp time
    --prediction price --out price.baseline.parquet
    """
    windows = [parse_window(text) for text in window or DEFAULT_WINDOWS]
    options = ColumnOptions.of(timestamp, prediction, probability, label, ignore)
    with progress_bar(_err) as progress:
        task = progress.add_task("Reading", total=None)
        rows = read_dataset(data, options)
        progress.update(task, description="Columns", total=len(rows.columns), completed=0)
        built = build_baseline(rows, model, version or "", windows, on_column=lambda _: progress.advance(task))
    written = write_baseline(built, out)
    _print_skipped(written.skipped)
    if timestamp is None:
        _err.print("note: without --timestamp there are no verdicts for windows by time, only scores", style="yellow")
    text = f"Wrote {out}: {written.rows:,} rows, {len(written.columns)} columns"
    _out.print(text, markup=False, highlight=False, soft_wrap=True)


@baseline_app.command("show")
def baseline_show(file: Annotated[Path, typer.Argument(help="A baseline file.")]) -> None:
    """Print what a baseline holds.

    Example: driftmeter baseline show price.baseline.parquet
    """
    baseline = read_baseline(file)
    _out.print(baseline_table(baseline))
    for column, reason in baseline.skipped.items():
        _out.print(f"left out: {column}: {reason}", markup=False, highlight=False)


@app.command()
def analyze(  # noqa: PLR0913 - the options of one command.
    reference: Annotated[Path, typer.Option(help="Parquet or CSV file with rows of good times.")],
    current: Annotated[Path, typer.Option(help="Parquet or CSV file with the rows to look at.")],
    window: Annotated[str, typer.Option(help="Length of a window: 1h, 24h, or 5000rows.")] = "5000rows",
    format: Annotated[str, typer.Option(help="table, json or parquet.")] = "table",  # noqa: A002
    out: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None,
    model: Model = None,
    version: Version = None,
    timestamp: Timestamp = None,
    prediction: Prediction = None,
    probability: Probability = None,
    label: Label = None,
    ignore: Ignore = None,
) -> None:
    """Compare a file with a reference, window by window: the same engine, offline, for notebooks, CI and pull requests.

    Exit code 0 also when there is drift. Example: driftmeter analyze --reference january.parquet
    --current june.parquet --timestamp time --window 24h
    """
    if format not in ("table", "json", "parquet"):
        raise ConfigError(f"--format {format}: must be table, json or parquet")
    if format == "parquet" and out is None and sys.stdout.isatty():
        raise ConfigError("--format parquet writes bytes: name a file with --out, or redirect the output")
    length = parse_window(window)
    options = ColumnOptions.of(timestamp, prediction, probability, label, ignore)
    with progress_bar(_err) as progress:
        task = progress.add_task("Reading", total=None)
        before, now = read_datasets([reference, current], options)
        progress.update(task, description="Calibrating")
        findings = analyze_files(
            before, now, length, DetectConfig(), model, version,
            lambda done, total: progress.update(task, description="Windows", completed=done, total=total),
        )  # fmt: skip
    _print_skipped(before.skipped)
    try:
        _write_findings(findings, format, out)
    except OSError as error:
        if out is None:  # Whoever reads the output is gone.
            raise
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror or error}") from error


@config_app.command("check")
def config_check(file: Annotated[Path, typer.Argument(help="The YAML file.")]) -> None:
    """Check a configuration, the baseline files it names included, without starting anything."""
    from driftmeter.baseline.book import read_book  # noqa: PLC0415 - needed here alone.

    read_book(load_config(file).baseline.files)
    _out.print(f"{file}: good", markup=False, highlight=False, soft_wrap=True)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the configuration: every field, its meaning and default; editors can use it."""
    print(json.dumps(Config.model_json_schema(), indent=2))  # noqa: T201 - the command's output.


@app.command("warm-up", hidden=True)
def warm_up() -> None:
    """Compile all kernels into the cache: at set-up, so that no start waits for it, and for images read-only later."""
    warm_up_kernels()


def _print_skipped(skipped: Mapping[str, str]) -> None:
    for column, reason in skipped.items():
        _err.print(f"left out: {column}: {reason}", style="yellow", markup=False, highlight=False)


def _write_findings(findings: pl.DataFrame, how: str, out: Path | None) -> None:
    if how == "parquet":
        with out.open("wb") if out else nullcontext(sys.stdout.buffer) as target:
            findings.write_parquet(target)
    elif how == "json":
        times = [pl.col(name).dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ") for name in ("window_start", "window_end")]
        text = findings.with_columns(times).write_json()
        if out:
            out.write_text(text + "\n", encoding="utf-8")
        else:
            print(text)  # noqa: T201 - the command's output.
    elif out:
        with out.open("w", encoding="utf-8") as file:
            Console(file=file, width=160).print(findings_table(findings))
    else:
        _out.print(findings_table(findings))
