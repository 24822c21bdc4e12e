"""The benchmark of the fold runs."""

from benchmarks import fold
from benchmarks.measure import Options


def test_first_figure_is_time_per_value() -> None:
    """The headline figure is measured against the whole of `fold`, in nanoseconds."""
    measurement = next(fold.run(Options()))
    assert (measurement.metric, measurement.unit) == ("fold_per_value", "ns/value")
    assert measurement.value > 0
