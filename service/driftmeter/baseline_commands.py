"""`driftmeter baseline`: making baselines, looking at them, and what they can promise."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from driftmeter.archived import archived_reference, time_span_ns
from driftmeter.baseline.build import DEFAULT_WINDOWS, build_baseline
from driftmeter.baseline.data import ColumnOptions, Rows, check_marks
from driftmeter.baseline.derived_rows import DerivedRows
from driftmeter.baseline.file import read_baseline, write_baseline
from driftmeter.baseline.files import read_datasets
from driftmeter.calibrate import (
    budgets,
    calibrated,
    calibrated_for,
    check_detect,
    detectable,
    shortfall,
    windows_of,
)
from driftmeter.clock import SystemClock
from driftmeter.config import Config, load_config
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import ConfigError
from driftmeter.journal_commands import state_directory
from driftmeter.model.columns import Role
from driftmeter.model.predictions import ModelKey
from driftmeter.model.seasons import UTC, check_zone
from driftmeter.model.segments import VALUES_MAX
from driftmeter.model.windows import parse_duration_ns, parse_window
from driftmeter.options import (
    Embedding,
    Ignore,
    Label,
    Prediction,
    Probability,
    Text,
    Timestamp,
    Version,
    print_skipped,
)
from driftmeter.references import kinds_of
from driftmeter.terminal import baseline_table, budgets_table, detectable_table, progress_bar, steps

baseline_app = typer.Typer(help="Make and look at baselines: what a model's columns look like when all is well.")

_out = Console()
_err = Console(stderr=True)


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
    embedding: Embedding = None,
    window: Annotated[
        list[str] | None,
        typer.Option(help=f"Window length to calibrate for: 5m, 24h, 5000rows. Repeatable. "
                     f"[default: {', '.join(DEFAULT_WINDOWS)}]", metavar="W"),
    ] = None,
    seasonal: Annotated[
        str | None, typer.Option(help="hour-of-week: know what is usual in each hour of the week too.", metavar="S")
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="Of --seasonal: whose clocks these hours are of, such as Europe/Berlin.", metavar="ZONE")
    ] = UTC,
    rolling: Annotated[str, typer.Option(help="Span of a rolling reference, whose verdicts it is built for.")] = "7d",
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
    config: Annotated[
        Path | None, typer.Option(help="The service's YAML file: detection and windows to calibrate for, and archive.")
    ] = None,
    calibrate: Annotated[  # noqa: FBT002 - a flag.
        bool, typer.Option(help="Keep the level for the configuration, or for the defaults, in the file.")
    ] = True,
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
    zone = _season_zone(seasonal, time_zone)
    if (data is None) == (from_archive is None):
        raise ConfigError("name either files with --data or a model with --from-archive")
    name = model or from_archive
    if name is None:
        raise ConfigError("--model: name the model that the baseline is for")
    with progress_bar(_err) as progress:
        task = progress.add_task("Reading", total=None)
        if from_archive is not None:
            if embedding:
                raise ConfigError("--embedding: rows of the archive say which columns are embeddings: leave it out")
            span = time_span_ns(since, until, SystemClock().now_ns())
            archive = state_directory(config, directory) / "archive"
            rows: Rows = archived_reference(archive, from_archive, version, stage, *span)
            segments = segment or []
        else:
            options = ColumnOptions.of(timestamp, prediction, probability, label, ignore, segment, text, embedding)
            segments = [each.name for each in options.roles.values() if each.role is Role.SEGMENT]
            (rows,) = read_datasets([data or []], options)
            check_marks(rows, "--embedding", options.embeddings)
        check_marks(rows, "--text", text or ())
        rows = DerivedRows.of_reference(rows, text or ())
        progress.update(task, description="Columns", total=len(rows.columns), completed=0)
        built = build_baseline(
            rows,
            name,
            version or "",
            windows,
            on_column=lambda _: progress.advance(task),
            season_zone=zone,
            segments=segments,
            segment_values=segment_values,
            rolling_ns=parse_duration_ns(rolling),
        )
        if calibrate and rows.timed:
            settings = load_config(config).for_model(ModelKey(name, version or "", stage or "")) if config else None
            built, found = calibrated_for(built, settings, steps(progress, "Calibrating"))
            if math.isnan(found.level):
                _err.print(f"note: {shortfall(found)}", style="yellow", soft_wrap=True)
    written = write_baseline(built, out)
    print_skipped(_err, written.skipped)
    if not rows.timed:
        _err.print("note: without --timestamp there are no verdicts for windows by time, only scores", style="yellow")
    said = f"Wrote {out}: {written.rows:,} rows, {len(written.columns)} columns"
    if written.segments:
        said += f", {len(written.segments)} segments: {', '.join(written.segments)}"
    _out.print(said, markup=False, highlight=False, soft_wrap=True)


def _season_zone(seasonal: str | None, time_zone: str) -> str | None:
    """Whose hours of the week to count by; None for none."""
    if seasonal not in (None, "hour-of-week"):
        raise ConfigError(f"--seasonal {seasonal}: must be hour-of-week")
    if seasonal is None and time_zone != UTC:
        raise ConfigError("--time-zone is of the hours of --seasonal hour-of-week: add that")
    check_zone(time_zone)
    return time_zone if seasonal else None


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
        if not 0 < false_alarms_per_week < math.inf:
            raise ConfigError(f"--false-alarms-per-week {false_alarms_per_week:g}: must be a number above 0")
        detect = DetectConfig.model_validate({**detect.model_dump(), "false_alarms_per_week": false_alarms_per_week})
    windows = windows_of(baseline, window or (settings.window.lengths if config else None))
    kinds, labels = kinds_of(settings.baseline), settings.labels_of(baseline.segments)
    with progress_bar(_err) as progress:
        kept, calibration = calibrated(baseline, detect, windows, labels, kinds, steps(progress, "Calibrating"))
    _out.print(budgets_table(budgets(calibration, detect.false_alarms_per_week), detect.false_alarms_per_week,
                             calibration))  # fmt: skip
    check_detect(baseline, detect, windows)
    for each in windows:
        _out.print(detectable_table(detectable(baseline, calibration, detect, each), each.name))
    write_baseline(kept, file)
    _out.print(f"Kept the level in {file}", markup=False, highlight=False, soft_wrap=True)
