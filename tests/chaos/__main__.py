"""The long run: `make chaos`, or `python -m chaos --kills 100 --seed 1` with `tests` on the path.

Goes on where an earlier run in the same directory was interrupted. Ends with a table, a file `result.json` beside the
progress, and exit code 1 when anything was not as promised.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from chaos.run import Result, Run

_OUT = Console()
_BEGIN, _END = "<!-- result -->", "<!-- end of result -->"


def main() -> int:
    """Run as the arguments say; the exit code."""
    arguments = _arguments()
    file = arguments.directory / "result.json"
    if file.exists():
        _OUT.print(f"ended before; remove {arguments.directory} to repeat it")
        return _end(Result(**json.loads(file.read_text())), arguments.document)
    run = Run(arguments.directory, arguments.seed)
    columns = (TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=_OUT) as bar:
            task = bar.add_task("kills", total=arguments.kills, completed=run.progress.kills)
            run.disturb(arguments.kills, lambda kills: bar.update(task, completed=kills))
        _OUT.print("waiting until everything has arrived, then comparing")
        result = run.finish()
    except KeyboardInterrupt:
        _OUT.print(f"interrupted after {run.progress.kills} kills; the same command goes on")
        return 130
    except AssertionError:
        _OUT.print(run.explain(), markup=False, highlight=False)
        raise
    finally:
        run.close()
    file.write_text(json.dumps(asdict(result), indent=1) + "\n")
    return _end(result, arguments.document)


def _end(result: Result, document: Path | None) -> int:
    """Say what came of it; the exit code."""
    table = Table("", "", show_header=False)
    for name, value in _shown(result).items():
        table.add_row(name, value)
    _OUT.print(table)
    for each in result.differences:
        _OUT.print(each, style="red", markup=False, highlight=False)
    if document is not None:
        _write_into(document, result)
    return 1 if result.differences else 0


def _write_into(document: Path, result: Result) -> None:
    """Put the result between its marks in a Markdown file."""
    head, _, rest = document.read_text().partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    assert tail, f"{document} lacks the marks {_BEGIN} and {_END}"
    command = f"make chaos CHAOS_SEED={result.seed} CHAOS_KILLS={result.kills}"
    rows = [f"| {name} | {value} |" for name, value in _shown(result).items()]
    lines = [f"The result of `{command}`:", "", "| | |", "|---|---|", *rows]
    document.write_text("\n".join([head + _BEGIN, *lines, _END]) + tail)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="SIGKILLs in all")
    parser.add_argument("--seed", type=int, default=1, help="of the spans and of the schedule of kills")
    parser.add_argument("--directory", type=Path, required=True, help="where everything of the run is kept")
    parser.add_argument("--document", type=Path, help="Markdown file that takes the result between its marks")
    return parser.parse_args()


def _shown(result: Result) -> dict[str, str]:
    figures = {
        "seed": result.seed,
        "kills": result.kills,
        "kills of the service": result.service_kills,
        "those before it was ready": result.recovery_kills,
        "kills of the Collector": result.collector_kills,
        "spans acknowledged": result.spans,
        "rows": result.rows,
        "spans that came again": result.duplicates,
        "windows compared": result.windows,
        "ledgers checked": result.scrapes,
    }
    differences = str(len(result.differences) or "none")
    return {name: f"{value:,}" for name, value in figures.items()} | {"differences": differences}


if __name__ == "__main__":
    sys.exit(main())
