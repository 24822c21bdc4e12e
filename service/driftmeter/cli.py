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
from driftmeter.archived import archived_reference, time_span_ns
from driftmeter.baseline.build import DEFAULT_WINDOWS, build_baseline
from driftmeter.baseline.data import ColumnOptions, Rows
from driftmeter.baseline.file import read_baseline, write_baseline
from driftmeter.baseline.files import read_datasets
from driftmeter.baseline.texts import TextRows
from driftmeter.calibrate import budgets, calibrated, check_detect, detectable, windows_of
from driftmeter.clock import SystemClock
from driftmeter.config import Config, load_config
from driftmeter.detect.config import DetectConfig
from driftmeter.doctor import Doctor, State
from driftmeter.errors import ConfigError, DriftmeterError
from driftmeter.explaining.explain import Question
from driftmeter.explaining.explain import explain as explain_window
from driftmeter.explaining.sources import asked_time_ns, choose_baseline, configured_rows, file_rows
from driftmeter.explaining.tables import explanation_tables
from driftmeter.journal_commands import journal_app, state_directory
from driftmeter.model.columns import Role
from driftmeter.model.predictions import ModelKey
from driftmeter.model.segments import VALUES_MAX
from driftmeter.model.windows import parse_window
from driftmeter.telemetry.logs import setup as setup_logs
from driftmeter.terminal import (
    baseline_table,
    budgets_table,
    checkup_table,
    detectable_table,
    findings_table,
    progress_bar,
)

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
Text = Annotated[
    list[str] | None,
    typer.Option(help="Column of texts rather than categories: compared by length, words and unknown words. "
                 "Repeatable; wildcards are allowed.", metavar="C"),
]  # fmt: skip
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
    out: Annotated[Path, typer.Option(help="File to write.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Parquet or CSV file with rows of good times, often the training data; a folder of such "
                     "files or a quoted pattern, 'day-*.parquet'. Repeatable: all rows together."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model's name, as in the spans' ml.model.name.")] = None,
    version: Version = None,
    timestamp: Timestamp = None,
    prediction: Prediction = None,
    probability: Probability = None,
    label: Label = None,
    ignore: Ignore = None,
    text: Text = None,
    window: Annotated[
        list[str] | None,
        typer.Option(help=f"Window length to calibrate for: 5m, 24h, 5000rows. Repeatable. "
                     f"[default: {', '.join(DEFAULT_WINDOWS)}]", metavar="W"),
    ] = None,
    seasonal: Annotated[
        str | None, typer.Option(help="hour-of-week: know what is usual in each hour of the week too.", metavar="S")
    ] = None,
    segment: Annotated[
        list[str] | None,
        typer.Option(help="Column whose commonest values are judged by themselves too, and is no feature; COLUMN=NAME "
                     "when spans call it NAME (ml.segment.NAME). Of the archive: NAME. Repeatable.", metavar="C"),
    ] = None,
    segment_values: Annotated[
        int, typer.Option(help="Most values of such a column; the others are judged together.", min=1, max=1000)
    ] = VALUES_MAX,
    from_archive: Annotated[
        str | None,
        typer.Option(help="Instead of --data: take this model's rows from a service's archive; it may be running.",
                     metavar="MODEL"),
    ] = None,
    since: Annotated[str, typer.Option(help="Of the archive: from this time on, or so long before --until.")] = "7d",
    until: Annotated[
        str | None, typer.Option(help="Of the archive: up to this time (ISO 8601), or so long ago.")
    ] = None,
    stage: Annotated[str | None, typer.Option(help="Of the archive: the model's stage.")] = None,
    config: Annotated[Path | None, typer.Option(help="Of the archive: the service's YAML file.")] = None,
    directory: Annotated[Path | None, typer.Option(help="Of the archive: the service's state directory.")] = None,
) -> None:  # fmt: skip
    """Build a baseline from files of rows; every column not named by an option is a feature.

    Files of any size: columns are read one after the other.

    Example: driftmeter baseline build --data train.parquet --model price --version 3 --timestamp time
    --prediction price --out price.baseline.parquet

    Or from what a service has archived, by whole hours: driftmeter baseline build --from-archive price --since 28d
    --config driftmeter.yaml --out price.baseline.parquet
    """
    windows = [parse_window(text) for text in window or DEFAULT_WINDOWS]
    if seasonal not in (None, "hour-of-week"):
        raise ConfigError(f"--seasonal {seasonal}: must be hour-of-week")
    if (data is None) == (from_archive is None):
        raise ConfigError("name either files with --data or a model with --from-archive")
    name = model or from_archive
    if name is None:
        raise ConfigError("--model: name the model that the baseline is for")
    with progress_bar(_err) as progress:
        task = progress.add_task("Reading", total=None)
        if from_archive is not None:
            span = time_span_ns(since, until, SystemClock().now_ns())
            archive = state_directory(config, directory) / "archive"
            rows: Rows = archived_reference(archive, from_archive, version, stage, *span)
            segments = segment or []
        else:
            options = ColumnOptions.of(timestamp, prediction, probability, label, ignore, segment)
            segments = [each.name for each in options.roles.values() if each.role is Role.SEGMENT]
            (rows,) = read_datasets([data or []], options)
        rows = TextRows.of_reference(rows, text or ())
        progress.update(task, description="Columns", total=len(rows.columns), completed=0)
        built = build_baseline(
            rows,
            name,
            version or "",
            windows,
            on_column=lambda _: progress.advance(task),
            seasonal=seasonal is not None,
            segments=segments,
            segment_values=segment_values,
        )
    written = write_baseline(built, out)
    _print_skipped(written.skipped)
    if not rows.timed:
        _err.print("note: without --timestamp there are no verdicts for windows by time, only scores", style="yellow")
    said = f"Wrote {out}: {written.rows:,} rows, {len(written.columns)} columns"
    if written.segments:
        said += f", {len(written.segments)} segments: {', '.join(written.segments)}"
    _out.print(said, markup=False, highlight=False, soft_wrap=True)


@baseline_app.command("show")
def baseline_show(file: Annotated[Path, typer.Argument(help="A baseline file.")]) -> None:
    """Print what a baseline holds.

    Example: driftmeter baseline show price.baseline.parquet
    """
    baseline = read_baseline(file)
    _out.print(baseline_table(baseline))
    for column, reason in baseline.skipped.items():
        _out.print(f"left out: {column}: {reason}", markup=False, highlight=False)


@baseline_app.command("calibrate")
def baseline_calibrate(
    file: Annotated[Path, typer.Argument(help="A baseline file.")],
    false_alarms_per_week: Annotated[
        float | None, typer.Option(help="How many a model without drift may raise; the configuration's, or 1.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file whose detect and window parts count.")] = None,
    window: Annotated[
        list[str] | None, typer.Option(help="Window length to look at. Repeatable. [default: the file's]", metavar="W")
    ] = None,
) -> None:
    """Show what a baseline can promise, and keep the level in its file, so that the service need not work it out.

    For each number of false alarms a week: how surprising a window must be, and what the baseline's own time raises at
    that level; then, per column, the smallest drift that is still seen.

    Example: driftmeter baseline calibrate price.baseline.parquet --false-alarms-per-week 0.5
    """
    baseline = read_baseline(file)
    settings = (load_config(config) if config else Config()).for_model(ModelKey(baseline.model, baseline.version, ""))
    detect = settings.detect
    if false_alarms_per_week is not None:
        detect = DetectConfig.model_validate({**detect.model_dump(), "false_alarms_per_week": false_alarms_per_week})
    windows = windows_of(baseline, window or (settings.window.lengths if config else None))
    kept, calibration = calibrated(baseline, detect, windows, settings.labels_of(baseline.segments))
    _out.print(budgets_table(budgets(calibration, detect.false_alarms_per_week), detect.false_alarms_per_week,
                             calibration))  # fmt: skip
    check_detect(baseline, detect, windows)
    for each in windows:
        _out.print(detectable_table(detectable(baseline, calibration, detect, each), each.name))
    write_baseline(kept, file)
    _out.print(f"Kept the level in {file}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def analyze(  # noqa: PLR0913 - the options of one command.
    reference: Annotated[
        list[Path],
        typer.Option(help="Parquet or CSV file with rows of good times; a folder or a quoted pattern. Repeatable."),
    ],
    current: Annotated[
        list[Path], typer.Option(help="The same with the rows to look at. Repeatable: files follow each other.")
    ],
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
    text: Text = None,
) -> None:
    """Compare files with a reference, window by window: the same engine, offline, for notebooks, CI and pull requests.

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
        before = TextRows.of_reference(before, text or ())
        progress.update(task, description="Columns", total=len(before.columns))
        findings = analyze_files(
            before, now, length, DetectConfig(), model, version,
            lambda _: progress.advance(task),
            lambda done, total: progress.update(task, description="Windows", completed=done, total=total),
        )  # fmt: skip
    _print_skipped(before.skipped)
    try:
        _write_findings(findings, format, out)
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
        options = ColumnOptions.of(timestamp, prediction, probability, label, ignore)
        rows = file_rows(data, options, ModelKey(model, version or "", stage or ""))
    else:
        rows = configured_rows(settings, model, version, stage)
    against, own = choose_baseline(baseline, settings, rows.key), settings.for_model(rows.key)
    lengths = [each for each in own.window.parsed if not each.by_rows]
    if length is None and not lengths:
        raise ConfigError("no window by time is configured: name a length with --length, such as 24h")
    chosen = parse_window(length) if length else max(lengths, key=lambda each: each.length_ns)
    others = [each.label for each in own.baseline.references if each.sort != "file"]
    with progress_bar(_err) as progress:
        task = progress.add_task("Counting", total=None)
        found = explain_window(
            Question(feature, time_ns, chosen, history, others), rows, against, own.detect, own.window.parsed,
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
            _err.print(f"note: {each.what}: {each.said}; {each.to_do}", style="yellow", markup=False, highlight=False)
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
