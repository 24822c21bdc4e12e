"""`driftmeter journal`: looking at a state directory, checking it, and dealing with what is in quarantine.

Exit codes: 0 all is well, 1 damage was found, 2 a mistake in arguments, or something that is not there.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from driftmeter.clock import SystemClock
from driftmeter.config import load_config
from driftmeter.errors import ConfigError, DamagedError, TransientError
from driftmeter.journal.check import check, require_state_directory
from driftmeter.journal.files import RealFiles
from driftmeter.journal.overview import entry_at, look
from driftmeter.journal.quarantine import DiskQuarantine
from driftmeter.journal_tables import checked_table, entry_tables, item_tables, overview_tables, quarantine_table
from driftmeter.terminal import progress_bar

journal_app = typer.Typer(
    help="Look at what a service keeps on disk, check it, and deal with what it could not digest. All commands work "
    "while the service runs.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
quarantine_app = typer.Typer(
    help="What the service could not digest: requests and batches that met an internal error. Their senders were told; "
    "nothing of them is counted until they are tried again.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
journal_app.add_typer(quarantine_app, name="quarantine", no_args_is_help=True)

_out = Console()
_err = Console(stderr=True)

_WHAT_TO_DO = (
    "What to do: restore the damaged files from a backup while the service is stopped; or, when there is none, start it"
    " with --accept-loss, which goes on without what cannot be read and counts it. Damaged files of the archive and the"
    " quarantine do not keep the service from starting: remove them when nobody needs them."
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="The service's YAML file: its journal.directory is looked at.")
]
Directory = Annotated[Path | None, typer.Option("--directory", help="The state directory itself, or a copy of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Numbers = Annotated[list[int] | None, typer.Argument(help="Numbers, as `list` shows them.", metavar="[NUMBER]...")]
Everything = Annotated[bool, typer.Option("--all", help="All that is there.")]


@journal_app.command("verify")
def verify(config: ConfigFile = None, directory: Directory = None) -> None:
    """Check every segment, snapshot, blob file, archive file and quarantined item for damage; changes nothing.

    Exit code 1 when something is damaged. What a running service is writing at the moment is no damage.

    Example: driftmeter journal verify --config driftmeter.yaml
    """
    state = state_directory(config, directory)
    with _reading(state), progress_bar(_err) as progress:
        task = progress.add_task("Checking", total=None)
        found = list(check(state, lambda done, of: progress.update(task, completed=done, total=of)))
    _out.print(checked_table(found))
    if any(each.problem for each in found):
        _out.print(_WHAT_TO_DO, highlight=False)
        raise typer.Exit(1)
    _out.print("All is as it was written.", highlight=False)


@journal_app.command("inspect")
def inspect(
    config: ConfigFile = None,
    directory: Directory = None,
    sequence: Annotated[int | None, typer.Option(help="Show this entry of the journal alone.", min=1)] = None,
    as_json: AsJson = False,  # noqa: FBT002 - typer's option.
) -> None:
    """Show what is there: snapshots, journal, models with watermarks and new rows, archive by day, quarantine.

    Examples: driftmeter journal inspect --directory /var/lib/driftmeter

    driftmeter journal inspect --config driftmeter.yaml --sequence 1234
    """
    state = state_directory(config, directory)
    if sequence is not None:
        if as_json:
            raise ConfigError("--sequence with --json: an entry is shown as a table alone; read rows from the archive")
        with _reading(state):
            entry = entry_at(state, sequence)
        _out.print(entry_tables(sequence, entry))
        return
    with _reading(state), progress_bar(_err) as progress:
        task = progress.add_task("Reading", total=None)
        found = look(state, lambda done, of: progress.update(task, completed=done, total=of))
    if as_json:
        print(json.dumps(asdict(found), indent=2))  # noqa: T201 - the command's output.
    else:
        _out.print(overview_tables(found, SystemClock().now_ns()))


@quarantine_app.command("list")
def quarantine_list(config: ConfigFile = None, directory: Directory = None, as_json: AsJson = False) -> None:  # noqa: FBT002
    """List what is in quarantine: number, time, model or kind of request, spans and error.

    Example: driftmeter journal quarantine list --config driftmeter.yaml
    """
    state = state_directory(config, directory)
    with _reading(state):
        found = _quarantine(state).listed()
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))  # noqa: T201 - the command's output.
    elif found:
        _out.print(quarantine_table(found))
    else:
        _out.print("Nothing is in quarantine.", highlight=False)


@quarantine_app.command("show")
def quarantine_show(
    number: Annotated[int, typer.Argument(help="Number, as `list` shows it.")],
    config: ConfigFile = None,
    directory: Directory = None,
) -> None:
    """Show one of them: the whole error, and the first rows or bytes.

    Example: driftmeter journal quarantine show 3 --config driftmeter.yaml
    """
    state = state_directory(config, directory)
    with _reading(state), _known_number(number):
        item = _quarantine(state).item(number)
    _out.print(item_tables(item))


@quarantine_app.command("retry")
def quarantine_retry(
    numbers: Numbers = None,
    config: ConfigFile = None,
    directory: Directory = None,
    everything: Everything = False,  # noqa: FBT002 - typer's option.
) -> None:
    """Ask the service to try again, after its mistake was corrected: a running one within seconds, else the next start.

    What fails again comes back under a new number.

    Examples: driftmeter journal quarantine retry 3 4 --config driftmeter.yaml

    driftmeter journal quarantine retry --all --config driftmeter.yaml
    """
    state = state_directory(config, directory)
    quarantine = _quarantine(state)
    with _reading(state):
        for number in _chosen(quarantine, numbers, everything=everything):
            with _known_number(number):
                quarantine.ask_for_retry(number)
            _out.print(f"{number}: will be tried again", highlight=False)


@quarantine_app.command("drop")
def quarantine_drop(
    numbers: Numbers = None,
    config: ConfigFile = None,
    directory: Directory = None,
    everything: Everything = False,  # noqa: FBT002 - typer's option.
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,  # noqa: FBT002 - typer's option.
) -> None:
    """Remove some for good: their spans will never be counted. Asks first on a terminal; scripts say --yes.

    Example: driftmeter journal quarantine drop 3 --config driftmeter.yaml --yes
    """
    state = state_directory(config, directory)
    quarantine = _quarantine(state)
    with _reading(state):
        chosen = _chosen(quarantine, numbers, everything=everything)
        for number in chosen:
            with _known_number(number):
                quarantine.require(number)
    if chosen and not yes:
        _confirm(len(chosen))
    with _reading(state):
        for number in chosen:
            with _known_number(number):
                quarantine.drop(number)
            _out.print(f"{number}: dropped", highlight=False)


def _confirm(count: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("drop removes for good and nobody is here to be asked: say --yes")
    if not typer.confirm(f"Remove {count} for good?"):
        raise typer.Exit(0)


def _chosen(quarantine: DiskQuarantine, numbers: list[int] | None, *, everything: bool) -> list[int]:
    if bool(numbers) == everything:
        raise ConfigError("name the numbers that `driftmeter journal quarantine list` shows, or say --all")
    return [each.number for each in quarantine.listed()] if everything else list(dict.fromkeys(numbers or []))


def _quarantine(state: Path) -> DiskQuarantine:
    return DiskQuarantine(RealFiles(), state / "quarantine", 0)


def state_directory(config: Path | None, directory: Path | None) -> Path:
    """The directory that the options name, or else the environment; checked to be one."""
    if config is not None and directory is not None:
        raise ConfigError("--config and --directory: name one of them")
    state = directory or load_config(config).journal.directory
    if state is None:
        source = config or "the environment"
        raise ConfigError(f"{source}: journal.directory is not set, so nothing is kept on disk; or name --directory")
    require_state_directory(state)
    return state


@contextmanager
def _reading(state: Path) -> Iterator[None]:
    try:
        yield
    except DamagedError as error:
        _err.print(f"driftmeter: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    except TransientError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        place = error.filename or state
        raise ConfigError(f"{place}: {error.strerror or error}; run this as the user that runs the service") from error


@contextmanager
def _known_number(number: int) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        message = f"{number}: there is nothing of this number in quarantine; see: driftmeter journal quarantine list"
        raise ConfigError(message) from error
