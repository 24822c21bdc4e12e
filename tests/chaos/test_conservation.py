"""Nothing lost and nothing counted twice, whatever is killed when."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.run import Run

KILLS = 15
SEED = 4


def test_every_acknowledged_span_is_counted_once_whatever_is_killed(tmp_path: Path) -> None:
    """Service and Collector get SIGKILL 15 times: windows and scores are those of a run that nothing disturbed.

    In between everything is killed at once, and the run goes on where it was, as `make chaos` does.
    """
    with explained(tmp_path / "run") as run:
        run.disturb(KILLS // 3)
    with explained(tmp_path / "run") as run:
        assert run.progress.kills == KILLS // 3
        run.disturb(KILLS)
        result = run.finish()
        assert result.differences == [], result
    assert result.kills == KILLS
    assert result.recovery_kills > 0
    assert result.duplicates > 0
    assert result.scrapes > KILLS


@contextmanager
def explained(directory: Path) -> Iterator[Run]:
    """A run; everything of it is killed in the end, and a failure tells what was logged."""
    run = Run(directory, SEED)
    try:
        yield run
    except BaseException as error:
        error.add_note(run.explain())
        raise
    finally:
        run.close()
