"""Measure how often alarms are false, what is detected, what seasons do. Exit code 1 when a promise is broken."""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown

from accuracy import detection, document, false_alarms, seasons


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m accuracy", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what: {', '.join(_PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="small amounts, to see that it works: figures mean little")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of tables")
    parser.add_argument("--document", type=Path, metavar="PAGE", help="write the page's tables and plots anew")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="pieces of work at a time")
    parser.add_argument("--no-peers", action="store_true", help="leave other libraries out")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in _PARTS]:
        parser.error(f"nothing is named {', '.join(unknown)}: there are {', '.join(_PARTS)}")
    broken = [each for name in options.names or _PARTS for each in _PARTS[name](options)]
    for each in broken:
        print(f"broken: {each}", file=sys.stderr)
    return int(bool(broken) and not options.quick)


def _false_alarms(options: argparse.Namespace) -> list[str]:
    settings = false_alarms.settings(quick=options.quick)
    found = false_alarms.measure(settings, options.seed, options.processes)
    _show(options, "false-alarms", found, document.false_alarm_tables(found))
    return [
        f"{each.setting.source.value}, {each.setting.columns} columns, {each.setting.rows} rows, "
        f"asked {each.asked:g} a week: measured {each.rate.per_week:.2f} ({each.rate.low:.2f} to {each.rate.high:.2f})"
        for each in found
        if each.broken
    ]


def _detection(options: argparse.Namespace) -> list[str]:
    plans = detection.plans(quick=options.quick, seed=options.seed, peers=not (options.quick or options.no_peers))
    found = detection.measure(plans, options.processes)
    if options.document:
        document.write_plot(options.document, found)
    single = detection.Singles(detection.one_among_many(options.seed), detection.one_segment_of_several(options.seed))
    plot = document.plot_of(options.document) if options.document else ""
    _show(options, "detection", found, document.detection_tables(found, single) + plot)
    return [] if single.column.soon == 1 else ["a shift of 0.5 standard deviations in one column of 100 was missed"]


def _seasons(options: argparse.Namespace) -> list[str]:
    year, slow = seasons.year(), seasons.slow_drift(options.seed)
    _show(options, "seasons", [*year, slow], document.season_tables(year, slow))
    return [] if slow.anchor > 3 * slow.anchor_noise else ["a slow drift is not seen against the anchor"]


_PARTS = {"false-alarms": _false_alarms, "detection": _detection, "seasons": _seasons}


def _show(options: argparse.Namespace, part: str, found: Iterable[Any], text: str) -> None:
    if options.json:
        for each in found:
            print(json.dumps({"part": part, **dataclasses.asdict(each)}), flush=True)
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(Markdown(text))
    if options.document:
        document.replace_part(options.document, part, text)


if __name__ == "__main__":
    sys.exit(main())
