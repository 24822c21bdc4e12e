"""What is in a state directory, as a person in a terminal reads it."""

from collections.abc import Iterable, Sequence

import polars as pl
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from driftmeter.journal.check import Checked
from driftmeter.journal.entries import (
    BaselineEntry,
    BatchEntry,
    Entry,
    LearnedEntry,
    QuarantinedEntry,
    RetriedEntry,
    RowsEntry,
    TickEntry,
)
from driftmeter.journal.overview import ArchivedDay, ModelFacts, Overview, day_start_ns
from driftmeter.journal.quarantine import Item, Listed
from driftmeter.model.predictions import ModelKey
from driftmeter.model.request import Request

_HEAD_ROWS = 5
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_ERROR_WIDTH = 60
_COUNTS = ("span keys", "open panes", "new spans", "new rows")


def size_text(size_bytes: float) -> str:
    """Bytes as people read them."""
    for unit in _UNITS[:-1]:
        if size_bytes < 1024:  # noqa: PLR2004 - of the next unit.
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} {_UNITS[-1]}"


def time_text(time_ns: int | None) -> str:
    """A time in UTC; a dash when there is none."""
    return "-" if time_ns is None else f"{pl.from_epoch(pl.Series([time_ns]), 'ns')[0]:%Y-%m-%d %H:%M:%S}"


def checked_table(found: Sequence[Checked]) -> RenderableType:
    """One line a kind of file; below it what is wrong, and what to know."""
    table = _table("what", "files", "size", "damaged", right=("files", "size", "damaged"))
    for kind in sorted({each.kind for each in found}):
        some = [each for each in found if each.kind is kind]
        damaged = sum(bool(each.problem) for each in some)
        cells = kind.value, f"{len(some):,}", size_text(sum(each.size_bytes for each in some)), str(damaged)
        table.add_row(*cells, style="red" if damaged else None)
    problems = [Text(f"damaged: {each.path}: {each.problem}", style="red") for each in found if each.problem]
    notes = [Text(f"note: {each.path}: {each.note}", style="yellow") for each in found if each.note]
    return Group(table, *problems, *notes)


def overview_tables(found: Overview, now_ns: int) -> RenderableType:
    """Snapshots, journal, models, archive, quarantine."""
    parts: list[RenderableType] = [Text(f"State in {found.directory}", style="bold"), _snapshots(found, now_ns)]
    parts.append(_segments(found))
    if found.models:
        parts.append(_models(found.models))
    if found.archive:
        parts.append(_archive(found.archive))
    total = sum(each.size_bytes for each in found.quarantine)
    words = f"{len(found.quarantine)} in it, {size_text(total)}" if found.quarantine else "empty"
    parts.append(Text(f"Quarantine: {words}", style="yellow" if found.quarantine else ""))
    return Group(*parts)


def _snapshots(found: Overview, now_ns: int) -> Table:
    table = _table("snapshot up to entry", "age", "size", "state", right=("snapshot up to entry", "age", "size"))
    for each in found.snapshots:
        age_seconds = max(0, now_ns - each.written_ns) / 1e9
        state = Text("damaged", style="red") if each.problem else Text("intact")
        table.add_row(f"{each.sequence:,}", f"{age_seconds:,.0f} s", size_text(each.size_bytes), state)
    table.caption = f"{size_text(found.blobs_bytes)} of blobs belong to them" if found.snapshots else "none yet"
    table.caption_justify = "left"
    return table


def _segments(found: Overview) -> Table:
    table = _table("journal from entry", "to", "entries", "size", right=("journal from entry", "to", "entries", "size"))
    for each in found.segments:
        cells = f"{each.first:,}", f"{each.last:,}", f"{each.entries:,}", size_text(each.size_bytes)
        table.add_row(*cells, style="red" if each.problem else None)
    kinds = ", ".join(f"{count:,} {name}" for name, count in sorted(found.tail.items())) or "nothing"
    table.caption, table.caption_justify = f"behind the newest snapshot, replayed at a start: {kinds}", "left"
    return table


def _models(models: Sequence[ModelFacts]) -> Table:
    new = ("new spans", "new rows", "from", "to") if any(each.tail_spans for each in models) else ()
    table = _table("model", "baseline", "watermark", "span keys", "open panes", *new, right=_COUNTS)
    for each in models:
        times = [time_text(time_ns) for time_ns in (each.tail_start_ns, each.tail_end_ns)]
        table.add_row(
            _name(ModelKey(each.model, each.version, each.stage)),
            each.baseline or "-",
            time_text(each.watermark_ns),
            f"{each.span_keys:,}",
            f"{each.open_panes:,}",
            *([f"{each.tail_spans:,}", f"{each.tail_rows:,}", *times] if new else []),
        )
    table.caption, table.caption_justify = "times in UTC" + ("; new: behind the newest snapshot" if new else ""), "left"
    return table


def _archive(days: Iterable[ArchivedDay]) -> Table:
    table = _table("archive of model", "day", "files", "rows", "size", right=("files", "rows", "size"))
    for each in days:
        table.add_row(
            _name(ModelKey(each.model, each.version, each.stage)),
            time_text(day_start_ns(each.day))[:10],
            f"{each.files:,}",
            f"{each.rows:,}",
            size_text(each.size_bytes),
        )
    return table


def entry_tables(sequence: int, entry: Entry) -> RenderableType:
    """One entry of the journal, and the first rows of each of its batches."""
    match entry:
        case RowsEntry():
            words = f"rows, taken in at {time_text(entry.now_ns)}: {entry.received} spans, {entry.ignored} ignored"
            counts = [*entry.rejected.items(), *entry.dropped_values.items()]
            said = "".join(f", {count} {reason}" for reason, count in counts)
            return Group(Text(f"entry {sequence}: {words}{said}"), *(_batch(each) for each in entry.batches))
        case TickEntry():
            again = ", changed windows evaluated again" if entry.revise else ""
            return Text(f"entry {sequence}: time passed: {time_text(entry.now_ns)}{again}")
        case LearnedEntry():
            learned = f"a baseline learned from {entry.rows} rows" if entry.rows else "no baseline could be learned"
            return Text(f"entry {sequence}: {learned} for {_name(entry.key)}")
        case BaselineEntry():
            return Text(f"entry {sequence}: a baseline file of {size_text(len(entry.content))} took effect")
        case QuarantinedEntry():
            where = f"batch {entry.batch} of entry {entry.sequence}" if entry.sequence else "a request"
            return Text(f"entry {sequence}: {where} is in quarantine: {entry.spans} spans")
        case RetriedEntry():
            where = f", as batch {entry.batch} of entry {entry.sequence}" if entry.sequence else ""
            return Text(f"entry {sequence}: the entry before it came out of quarantine: number {entry.number}{where}")


def _batch(batch: BatchEntry) -> RenderableType:
    rows = batch.predictions.rows
    said = f"{batch.spans} spans, {rows.num_rows} rows, {batch.duplicates} duplicates left out"
    head = pl.DataFrame(pl.from_arrow(rows.slice(0, _HEAD_ROWS)))
    table = _table("column", *(f"row {row}" for row in range(head.height)))
    for column in head.iter_columns():
        table.add_row(Text(column.name), *(Text(_cell(value)) for value in column))
    return Group(Text(f"{_name(batch.predictions.key)}: {said}"), table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value.hex() if isinstance(value, bytes) else str(value)


def quarantine_table(found: Iterable[Listed]) -> Table:
    """One line for each thing in quarantine."""
    table = _table("number", "since (UTC)", "what", "spans", "size", "error", right=("number", "spans", "size"))
    for each in found:
        error = "to be tried again" if each.retry else each.error[:_ERROR_WIDTH]
        style = "red" if each.damaged else "yellow" if each.retry else None
        since = "-" if each.damaged else time_text(each.time_ns)
        cells = Text(each.what), f"{each.spans:,}", size_text(each.size_bytes), Text(error)
        table.add_row(str(each.number), since, *cells, style=style)
    return table


def item_tables(item: Item) -> RenderableType:
    """One thing in quarantine, with the first of what is in it."""
    head = Text(f"number {item.number}, since {time_text(item.time_ns)} UTC, {item.spans} spans\n{item.error}")
    if isinstance(item.content, Request):
        body = item.content.body
        shown = " ".join(f"{byte:02x}" for byte in body[:64])
        return Group(head, Text(f"OTLP request ({item.content.signal.value}), {len(body):,} bytes: {shown}…"))
    return Group(head, _batch(item.content))


def _name(key: ModelKey) -> str:
    return " ".join(part for part in key if part) or "(no name)"


def _table(*names: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table
