"""Learns baselines beside the pipeline's thread, since it takes seconds."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from driftmeter.baseline.learning import Learning
from driftmeter.model.baseline import Baseline
from driftmeter.summary.fold import get_ready


def _learned(task: Callable[[], Baseline | None]) -> Baseline | None:
    baseline = task()
    if baseline is not None:
        get_ready(baseline.layout)
    return baseline


class Learner:
    """A thread that learns one baseline after the other."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="learner")
        self._under_way: deque[tuple[Learning, Future[Baseline | None]]] = deque()

    @property
    def is_busy(self) -> bool:
        """Whether anything is under way, or learned and not taken yet; from any thread."""
        return bool(self._under_way)

    def begin(self, learning: Learning) -> None:
        """Learn from the rows that a model has now."""
        learning.under_way = True
        self._under_way.append((learning, self._thread.submit(_learned, learning.task())))

    def learned(self, *, wait: bool) -> Iterator[tuple[Learning, Callable[[], Baseline | None]]]:
        """What is learned, in the order in which it was begun, and what gives the baseline or raises.

        Args:
            wait: Wait for all that has been begun.
        """
        while self._under_way and (wait or self._under_way[0][1].done()):
            learning, future = self._under_way.popleft()
            learning.under_way = False
            yield learning, future.result

    def close(self) -> None:
        """Begin no more; what is under way is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)
