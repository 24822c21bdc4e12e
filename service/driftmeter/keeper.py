"""State onto disk while the service runs, and back from there when it starts.

start: newest snapshot ─► state ─► entries behind it done again ─► as it was
then:  state ─► snapshot ─► journal behind the older snapshot ─► archive ─► removed
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from driftmeter.clock import Clock
from driftmeter.errors import ConfigError, DamagedError, TransientError
from driftmeter.export.exporter import Exporter
from driftmeter.journal.store import DiskJournal, PendingSnapshot
from driftmeter.model.bundle import Tree
from driftmeter.model.stored import Stored
from driftmeter.pipeline import Pipeline
from driftmeter.telemetry.logs import fields
from driftmeter.telemetry.metrics import SnapshotResult, Telemetry

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class RunOnPipeline(Protocol):
    """Runs something on the pipeline's thread."""

    def __call__(self, work: Callable[[], _Result], /) -> Awaitable[_Result]:
        """What it returned or raised."""
        ...


class Keeper:
    """Keeps the state of a pipeline and its exporter.

    Args:
        journal: Where.
        pipeline: State that the journal's entries lead to.
        exporter: What was counted and is on its way out.
        window_clock: By which clock windows close: state of one is nothing to the other.
        telemetry: Where is counted.
        clock: The time.
    """

    def __init__(
        self,
        journal: DiskJournal,
        pipeline: Pipeline,
        exporter: Exporter,
        window_clock: str,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._pipeline = pipeline
        self._exporter = exporter
        self._window_clock = window_clock
        self._telemetry = telemetry
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    def restore(self) -> None:
        """Take over the state of the snapshot that the journal has, if it has one.

        Raises:
            DamagedError: It is not as it was written, or a blob that it needs is not.
            ConfigError: It is the state of another kind of service.
        """
        if self._journal.tree is None:
            return
        state = Stored(self._journal.tree)
        clock = state.text("clock")
        if clock != self._window_clock:
            raise ConfigError(
                f"window.clock: journal.directory holds the state of windows by the {clock} clock; "
                "give journal.directory a new place, or window.clock its old value"
            )
        self._pipeline.restore(state.tree("pipeline"))
        self._exporter.restore(state.tree("exporter"))
        self._journal.release_tree()

    def replay(self, give_up: Callable[[], bool]) -> None:
        """Do again what came after the snapshot; on the pipeline's thread.

        Windows are evaluated before it returns, so that no counter is shown that stood higher before.

        Args:
            give_up: Asked again and again whether to stop.

        Raises:
            TransientError: It was given up.
        """
        started = self._clock.monotonic_seconds()
        entries = self._pipeline.replay(self._journal.replay(), self._journal.quarantined(), give_up)
        while self._pipeline.work_off(1.0):
            if give_up():
                raise TransientError("recovery was given up: the service was told to stop")
        seconds = round(self._clock.monotonic_seconds() - started, 3)
        _LOG.info("recovered", extra=fields(snapshot=self._journal.covered, entries=entries, seconds=seconds))

    async def keep(self, run: RunOnPipeline, *, at_once: bool = False) -> bool:
        """Take a snapshot when there is enough behind the last one; then archive what the journal need not keep.

        Whatever fails is said and counted, and tried again the next time.

        Args:
            run: For what must happen between two requests.
            at_once: Take one in any case.

        Returns:
            Whether all that was to be done is done.
        """
        async with self._one_at_a_time:
            if self._journal.wants_room:
                await self._attempt("the archive was not trimmed", self._trim)
            if not (at_once or self._journal.snapshot_due):
                return True
            started = self._clock.monotonic_seconds()
            kept = await self._attempt("no snapshot was taken, the one before it stays", partial(self._snapshot, run))
            self._telemetry.snapshots.add(result=SnapshotResult.OK if kept else SnapshotResult.FAILED)
            if kept:
                self._telemetry.snapshot_seconds.observe(self._clock.monotonic_seconds() - started)
                await self._attempt("part of the journal is not archived yet", partial(self._archive, run))
            return kept

    async def _attempt(self, what: str, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except (TransientError, DamagedError) as error:
            _LOG.warning("%s: %s", what, error)
        except Exception:  # noqa: BLE001 - what fails here must stop neither the next attempt nor the service's stop.
            self._telemetry.internal_errors.add()
            _LOG.exception("internal error: %s", what)
        else:
            return True
        return False

    async def _snapshot(self, run: RunOnPipeline) -> None:
        pending = await run(self._capture)
        await asyncio.to_thread(self._journal.write_snapshot, pending)
        await run(partial(self._journal.finish_snapshot, pending))

    async def _archive(self, run: RunOnPipeline) -> None:
        for segment in await run(self._journal.superseded):
            await asyncio.to_thread(self._journal.archive, segment)
            await run(partial(self._journal.forget, segment))
        await self._trim()

    async def _trim(self) -> None:
        await asyncio.to_thread(self._journal.trim_archive)

    def _capture(self) -> PendingSnapshot:
        if self._pipeline.broken:
            raise TransientError("state is behind the journal")
        state: Tree = {
            "clock": self._window_clock,
            "pipeline": self._pipeline.state(),
            "exporter": self._exporter.state(),
        }
        return self._journal.begin_snapshot(state)
