"""Independent pieces of work over all cores, with a progress bar."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def spread(
    what: str, work: Callable[[Piece], Result], pieces: Sequence[Piece], processes: int | None = None
) -> list[Result]:
    """`work` on each piece, in processes of their own; results in the order of the pieces.

    Args:
        what: What is done, for the progress on standard error: a bar, or a line per piece where that is no terminal.
        work: A function of a module; its randomness must come from its piece.
        pieces: What it is called with; begun in this order, so the long ones should come first.
        processes: How many at a time; as many as there are cores unless given. 1: in this process.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=len(pieces))
        if processes == 1:
            return [_advanced(progress, task, work(piece)) for piece in pieces]
        # Threads of the parent's libraries do not survive a fork.
        with ProcessPoolExecutor(processes or os.cpu_count(), mp_context=get_context("spawn")) as pool:
            futures = {pool.submit(work, piece): number for number, piece in enumerate(pieces)}
            found = {futures[each]: _advanced(progress, task, each.result()) for each in as_completed(futures)}
    return [found[number] for number in range(len(pieces))]


def _advanced(progress: Progress, task: TaskID, result: Result) -> Result:
    progress.advance(task)
    if not progress.console.is_terminal:
        now = progress.tasks[task]
        progress.console.print(f"{now.description}: {now.completed:.0f} of {now.total:.0f}, {now.elapsed or 0:.0f} s")
    return result
