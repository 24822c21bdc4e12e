"""Works out nulls and levels beside the pipeline's thread, since it may take a minute: until then windows wait."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait

from driftmeter.clock import Clock
from driftmeter.detect.preparing import Preparation
from driftmeter.errors import TransientError
from driftmeter.model.predictions import ModelKey
from driftmeter.telemetry.logs import fields
from driftmeter.watched import WatchedModel

SAID_CELLS_MIN = 1_000_000
"""Chunks × columns of baseline to be replayed from which on it is worth a word: some seconds."""

_LOG = logging.getLogger(__name__)


class Preparing:
    """A thread that works out what one model after the other is judged by, and one for those that replay nothing.

    Which windows wait for it depends on time; what is said of them does not.

    Args:
        clock: The time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._replaying = ThreadPoolExecutor(max_workers=1, thread_name_prefix="replaying")
        self._others = ThreadPoolExecutor(max_workers=1, thread_name_prefix="preparing")
        self._under_way: dict[ModelKey, tuple[Preparation, Future[None]]] = {}
        self._closed = False

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way; from any thread."""
        return any(not preparation.is_done for preparation, _ in list(self._under_way.values()))

    def is_ready(self, model: WatchedModel) -> bool:
        """Whether windows of a model can be judged at once; if not, that is being worked out from now on."""
        preparation = model.preparation
        if preparation is None or preparation.is_done:
            self._under_way.pop(model.key, None)
            return True
        before, _ = self._under_way.get(model.key, (None, None))
        if before is not preparation:
            thread = self._replaying if preparation.replayed_cells else self._others
            self._under_way[model.key] = preparation, thread.submit(self._work, model.key, preparation)
        return False

    def wait(self, seconds: float | None) -> None:
        """Until one more model is ready, or so many seconds; None for however long it takes."""
        futures = [future for preparation, future in self._under_way.values() if not preparation.is_done]
        if futures:
            wait(futures, seconds, "FIRST_COMPLETED")

    def close(self) -> None:
        """Begin no more; what is under way is given up soon, and begun again by the next start."""
        self._closed = True
        for each in (self._replaying, self._others):
            each.shutdown(wait=False, cancel_futures=True)

    def _work(self, key: ModelKey, preparation: Preparation) -> None:
        cells = preparation.replayed_cells
        said = {"model": key.model, "version": key.version}
        started = self._clock.monotonic_seconds()
        if cells >= SAID_CELLS_MIN:
            _LOG.warning(
                "the level of a baseline for these settings is not in its file and is worked out now; windows wait for "
                "it, requests do not. Keep it there: driftmeter baseline calibrate FILE --config CONFIG",
                extra=fields(**said, cells=cells),
            )
        try:
            preparation.work(lambda: not self._closed)
        except TransientError as error:
            _LOG.info("the level is not worked out: %s; the next start begins it again", error, extra=fields(**said))
            return
        except Exception:  # noqa: BLE001 - where a window is judged it fails again, and is counted.
            _LOG.exception("internal error: a level was not worked out beforehand", extra=fields(**said))
        if cells >= SAID_CELLS_MIN:
            seconds = round(self._clock.monotonic_seconds() - started, 1)
            _LOG.info("the level is worked out", extra=fields(**said, seconds=seconds))
