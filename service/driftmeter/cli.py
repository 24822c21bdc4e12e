"""Commands, their arguments and their exit codes.

Exit codes: 0 done (drift or not), 1 a fault of this program, 2 a mistake in arguments, configuration or files.
"""

import json
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import polars as pl
import typer
from rich.console import Console, RenderableType

from driftmeter import __version__
from driftmeter.analyze import DEFAULT_WINDOW
from driftmeter.analyze import analyze as analyze_files
from driftmeter.app import serve as serve_until_stopped
from driftmeter.app import warm_up as warm_up_kernels
from driftmeter.baseline.data import ColumnOptions, check_marks
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.baseline.embeddings import embeddings_of
from driftmeter.baseline.files import read_datasets
from driftmeter.baseline_commands import baseline_app
from driftmeter.calibrate import (
    check_detect,
)
from driftmeter.clock import SystemClock
from driftmeter.config import Config, load_config
from driftmeter.detect.config import DetectConfig
from driftmeter.doctor import Doctor, State
from driftmeter.errors import ConfigError, DriftmeterError
from driftmeter.explaining.explain import Question
from driftmeter.explaining.explain import explain as explain_window
from driftmeter.explaining.sources import asked_time_ns, choose_baseline, configured_rows, file_rows
from driftmeter.explaining.tables import explanation_tables
from driftmeter.journal_commands import journal_app
from driftmeter.model.columns import Role
from driftmeter.model.predictions import ModelKey
from driftmeter.model.segments import VALUES_MAX
from driftmeter.model.windows import parse_window
from driftmeter.options import (
    Embedding,
    Ignore,
    Label,
    Model,
    Prediction,
    Probability,
    Text,
    Timestamp,
    Version,
    print_skipped,
)
from driftmeter.telemetry.logs import setup as setup_logs
from driftmeter.terminal import (
    analysis_table,
    checkup_table,
    progress_bar,
)

app = typer.Typer(
    name="driftmeter",
    help="Watch machine-learning models in production: OpenTelemetry spans in, drift as Prometheus metrics out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
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


@app.command()
def analyze(  # noqa: PLR0913 - the options of one command.
    reference: Annotated[
        list[Path],
        typer.Option(help="Parquet or CSV file with rows of good times; a folder or a quoted pattern. Repeatable."),
    ],
    current: Annotated[
        list[Path], typer.Option(help="The same with the rows to look at. Repeatable: files follow each other.")
    ],
    window: Annotated[
        list[str] | None,
        typer.Option(help=f"Length of a window: 1h, '24h every 1h', 5000rows. Repeatable. [default: {DEFAULT_WINDOW}]",
                     metavar="W"),
    ] = None,
    whole_rows: Annotated[  # noqa: FBT002 - a flag.
        bool, typer.Option("--whole-rows", help="Also look at whole rows: methods on samples, odd rows, duplicates.")
    ] = False,
    show: Annotated[
        str, typer.Option(help="findings, verdicts (on the model), quality (of columns and rows) or anomalies (rows).")
    ] = "findings",
    format: Annotated[str, typer.Option(help="table, json or parquet.")] = "table",  # noqa: A002
    out: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None,
    model: Model = None,
    version: Version = None,
    timestamp: Timestamp = None,
    prediction: Prediction = None,
    probability: Probability = None,
    label: Label = None,
    ignore: Ignore = None,
    text: Text = None,
    embedding: Embedding = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(help="Column whose commonest values are compared by themselves too, and is no feature. "
                     "Repeatable.", metavar="C"),
    ] = None,
    segment_values: Annotated[int, typer.Option(help="Most values of such a column.", min=1, max=1000)] = VALUES_MAX,
) -> None:  # fmt: skip
    """Compare files with a reference, window by window: the same engine, offline, for notebooks, CI and pull requests.

    Exit code 0 also when there is drift. Example: driftmeter analyze --reference january.parquet
    --current june.parquet --timestamp time --window 24h

    With --whole-rows also the methods on a sample of each window's rows (principal components, a classifier that tells
    rows from the reference's, maximum mean discrepancy, an isolation forest) and duplicates; that costs time for each
    window. --show says which of the results to write.
    """
    if format not in ("table", "json", "parquet"):
        raise ConfigError(f"--format {format}: must be table, json or parquet")
    if format == "parquet" and out is None and sys.stdout.isatty():
        raise ConfigError("--format parquet writes bytes: name a file with --out, or redirect the output")
    if show not in ("findings", "verdicts", "quality", "anomalies"):
        raise ConfigError(f"--show {show}: must be findings, verdicts, quality or anomalies")
    if show == "anomalies" and not whole_rows:
        raise ConfigError("--show anomalies: needs --whole-rows")
    lengths = [parse_window(each) for each in window or [DEFAULT_WINDOW]]
    options = ColumnOptions.of(timestamp, prediction, probability, label, ignore, segment, text, embedding)
    with progress_bar(_err) as progress:
        task = progress.add_task("Reading", total=None)
        before, now = read_datasets([reference, current], options)
        check_marks(before, "--text", options.texts)
        check_marks(before, "--embedding", options.embeddings)
        before = DerivedRows.of_reference(before, options.texts)
        progress.update(task, description="Columns", total=len(before.columns))
        found = analyze_files(
            before, now, lengths, DetectConfig(), model, version,
            lambda _: progress.advance(task),
            lambda done, total: progress.update(task, description="Windows", completed=done, total=total),
            whole_rows=whole_rows,
            segments=[each.name for each in options.roles.values() if each.role is Role.SEGMENT],
            segment_values=segment_values,
        )  # fmt: skip
    print_skipped(_err, before.skipped)
    try:
        _write_frame(getattr(found, show), analysis_table(found, show), format, out)
    except OSError as error:
        if out is None:  # Whoever reads the output is gone.
            raise
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror or error}") from error


@app.command()
def explain(  # noqa: PLR0913 - the options of one command.
    model: Annotated[str, typer.Option(help="The model's name.")],
    feature: Annotated[str, typer.Option(help="A feature; prediction.NAME or probability.CLASS for what it answered.")],
    window: Annotated[str, typer.Option(help="A time in the window, such as 2025-03-01T14:00 (UTC), or latest.")] = (
        "latest"
    ),
    length: Annotated[
        str | None, typer.Option(help="The window's length. [default: the longest configured by time]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The service's YAML file: archive, baselines, detection.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="A baseline file, instead of the configured ones.")] = None,
    version: Version = None,
    stage: Annotated[str | None, typer.Option(help="Its stage, as in ml.model.stage.")] = None,
    data: Annotated[Path | None, typer.Option(help="Parquet or CSV file of rows, instead of the archive.")] = None,
    segment: Annotated[
        str | None, typer.Option(help="Only the rows of one segment, such as country=DE.", metavar="NAME=VALUE")
    ] = None,
    history: Annotated[int, typer.Option(help="How many windows to show.", min=1, max=1000)] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,  # noqa: FBT002
    timestamp: Timestamp = None,
    prediction: Prediction = None,
    probability: Probability = None,
    label: Label = None,
    ignore: Ignore = None,
) -> None:
    """Say why a window of a feature was, or was not, called drifted, from the archive or a file; changes nothing.

    Exit code 0 whatever the verdict, 2 when there is no such model, feature, window or baseline.

    Example: driftmeter explain --config driftmeter.yaml --model price --feature size --window 2025-03-01T14:00
    """
    settings, time_ns = load_config(config), asked_time_ns(window)
    if data:
        key = ModelKey(model, version or "", stage or "")
        against = choose_baseline(baseline, settings, key)
        column = [segment.partition("=")[0]] if segment else []
        options = ColumnOptions.of(
            timestamp, prediction, probability, label, ignore, column, embeddings=embeddings_of(against)
        )
        rows = file_rows(data, options, key)
    else:
        rows = configured_rows(settings, model, version, stage)
        against = choose_baseline(baseline, settings, rows.key)
    own = settings.for_model(rows.key)
    lengths = [each for each in own.window.parsed if not each.by_rows]
    if length is None and not lengths:
        raise ConfigError("no window by time is configured: name a length with --length, such as 24h")
    chosen = parse_window(length) if length else max(lengths, key=lambda each: each.length_ns)
    others = [each.label for each in own.baseline.references if each.sort != "file"]
    with progress_bar(_err) as progress:
        task = progress.add_task("Counting", total=None)
        found = explain_window(
            Question(feature, time_ns, chosen, history, others, segment or "", own.labels_of(against.segments)),
            rows, against, own.detect, own.window.parsed,
            lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip
    if as_json:
        print(json.dumps(found.tree(), indent=2))  # noqa: T201 - the command's output.
    else:
        _out.print(explanation_tables(found))


@config_app.command("check")
def config_check(file: Annotated[Path, typer.Argument(help="The YAML file.")]) -> None:
    """Check a configuration, the baseline files it names included, without starting anything."""
    from driftmeter.baseline.book import read_book  # noqa: PLC0415 - needed here alone.

    config = load_config(file)
    for baseline in read_book(config.baseline.files).baselines:
        special = config.for_model(ModelKey(baseline.model, baseline.version, ""))
        check_detect(baseline, special.detect, special.window.parsed)
    for each in Doctor(config, SystemClock()).baselines():
        if each.state is State.PROBLEM:
            said = f"note: {each.what}: {each.said}; {each.to_do}"
            _err.print(said, style="yellow", markup=False, highlight=False, soft_wrap=True)
    _out.print(f"{file}: good", markup=False, highlight=False, soft_wrap=True)


@config_app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of the configuration: every field, its meaning and default; editors can use it."""
    print(json.dumps(Config.model_json_schema(), indent=2))  # noqa: T201 - the command's output.


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option(help="The service's YAML file; without it, environment.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,  # noqa: FBT002
) -> None:
    """Look whether everything is there: disk, ports, Collector, Prometheus, baselines, and a span through the service.

    Changes nothing. Exit code 0 when all is well, 1 when there are problems, 2 for mistakes in the configuration.

    Example: driftmeter doctor --config driftmeter.yaml
    """
    found = list(Doctor(load_config(config), SystemClock()).look())
    if as_json:
        print(json.dumps([each._asdict() for each in found], indent=2))  # noqa: T201 - the command's output.
    else:
        _out.print(checkup_table(found))
    if any(each.state is State.PROBLEM for each in found):
        raise typer.Exit(1)


@app.command("warm-up", hidden=True)
def warm_up() -> None:
    """Compile all kernels into the cache: at set-up, so that no start waits for it, and for images read-only later."""
    warm_up_kernels()


def _write_frame(frame: pl.DataFrame, table: RenderableType, how: str, out: Path | None) -> None:
    if how == "parquet":
        with out.open("wb") if out else nullcontext(sys.stdout.buffer) as target:
            frame.write_parquet(target)
    elif how == "json":
        times = pl.selectors.datetime()
        text = frame.with_columns(times.dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ")).write_json()
        if out:
            out.write_text(text + "\n", encoding="utf-8")
        else:
            print(text)  # noqa: T201 - the command's output.
    elif out:
        with out.open("w", encoding="utf-8") as file:
            Console(file=file, width=160).print(table)
    else:
        _out.print(table)
