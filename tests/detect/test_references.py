"""What windows are compared with beside the baseline itself."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from driftmeter.baseline.build import build_baseline
from driftmeter.detect.config import DetectConfig
from driftmeter.detect.detector import Detector
from driftmeter.detect.other_version import VersionReference
from driftmeter.detect.previous import PreviousReference
from driftmeter.detect.reference import Expected, FixedReference, Reference
from driftmeter.detect.rolling import RollingReference
from driftmeter.detect.seasonal import SeasonalReference
from driftmeter.model.baseline import Baseline
from driftmeter.model.counts import Counts, Tally
from driftmeter.model.predictions import ModelKey
from driftmeter.model.seasons import HOURS_OF_WEEK, hours_of_week
from driftmeter.model.window_counts import WindowCounts
from driftmeter.model.windows import parse_window
from driftmeter.summary.fold import fold
from rows import DAY_NS, HOUR_NS, ONE_COLUMN, dataset, predictions
from stored_states import again, assert_damage_is_named

MONDAY_NS = 4 * DAY_NS


def _window(number: int, values: Sequence[float | None], name: str = "1h", hop: int = 1) -> WindowCounts:
    """Window number so and so, of these values of `x`."""
    window = parse_window(name)
    counts = Counts.zeros(ONE_COLUMN)
    fold(ONE_COLUMN, predictions([0] * len(values), {"x": list(values)}).rows, np.zeros(len(values), np.int32), counts)
    length_ns = window.length_ns or HOUR_NS
    start_ns = MONDAY_NS + number * length_ns // hop
    return WindowCounts(window, number, start_ns, start_ns + length_ns, 0, counts)


def _judge(reference: Reference, window: WindowCounts, *, drifted: bool = False) -> list[float] | None:
    """What the window is compared with; then it is judged."""
    counts = window.counts
    assert isinstance(counts, Counts)
    found = reference.expect(window, counts)
    reference.observe(window, counts, drifted=drifted)
    return None if found is None else found.counts.tolist()


def _bins(*values: float) -> list[float]:
    """Counts of these values in the bins of `ONE_COLUMN`."""
    counts = [0.0] * ONE_COLUMN.size
    for value in values:
        counts[1 + int(value)] += 1
    return counts


def test_previous_is_the_window_before_drifted_or_not() -> None:
    """Each window is compared with the one before, the first one with nothing; lengths do not mix."""
    reference = PreviousReference("previous", ONE_COLUMN)
    assert _judge(reference, _window(0, [0.5])) is None
    assert _judge(reference, _window(1, [1.5, None]), drifted=True) == _bins(0.5)
    assert _judge(reference, _window(0, [2.5], "24h")) is None
    found = reference.expect(_window(7, []), Counts.zeros(ONE_COLUMN))
    assert found is not None
    assert (found.counts.tolist(), found.rows, found.tallies[0, Tally.MISSING]) == (_bins(1.5), 2.0, 1.0)


def test_previous_of_hopping_windows_does_not_overlap() -> None:
    """Of windows that overlap, the newest of the disjoint ones that ended before is taken; only two are kept."""
    reference = PreviousReference("previous", ONE_COLUMN)
    for number in range(20):
        found = _judge(reference, _window(number, [number % 3], "4h", hop=4))
        assert found == (_bins((number // 4 - 1) * 4 % 3) if number >= 4 else None)
    kept = reference.state()
    assert isinstance(kept, dict)
    assert isinstance(kept["4h"], list)
    assert len(kept["4h"]) == 2


def test_previous_of_windows_by_rows_goes_by_their_number() -> None:
    """Windows by rows follow each other whatever their times are."""
    reference = PreviousReference("previous", ONE_COLUMN)
    first = replace(_window(0, [0.5], "1rows"), start_ns=50, end_ns=90)
    second = replace(_window(1, [1.5], "1rows"), start_ns=10, end_ns=60)
    assert _judge(reference, first) is None
    assert _judge(reference, second) == _bins(0.5)


def test_a_revision_is_compared_as_its_window_was() -> None:
    """Late rows change the window and not what it is compared with, as long as no later window was judged."""
    references: list[Reference] = [
        PreviousReference("previous", ONE_COLUMN),
        RollingReference("rolling", ONE_COLUMN, 4 * HOUR_NS),
    ]
    for reference in references:
        for number in range(6):
            before = _judge(reference, _window(number, [number % 3]))
            revised = replace(_window(number, [1.0, 2.0]), revision=1)
            after = reference.expect(revised, Counts.zeros(ONE_COLUMN))
            assert before == (None if after is None else after.counts.tolist())


def test_rolling_is_the_sum_of_the_last_days_without_the_newest_window() -> None:
    """The last two windows before this one's predecessor, once half of the span has passed."""
    reference = RollingReference("rolling", ONE_COLUMN, 4 * HOUR_NS)
    found = [_judge(reference, _window(number, [number % 3])) for number in range(8)]
    assert found[:2] == [None, None]
    assert found[2] == _bins(0)
    assert found[3] == _bins(0, 1)
    assert found[6] == _bins(1 + 1, 0, 1)  # Windows 2, 3, 4: number 1 ended four hours before, 5 is too new.


def test_rolling_leaves_out_what_drifted_and_begins_anew() -> None:
    """Windows that drifted are not learned; when all of the span has, what is there then is."""
    reference = RollingReference("rolling", ONE_COLUMN, 6 * HOUR_NS)
    for number in range(8):
        _judge(reference, _window(number, [0.5]))
    found = [_judge(reference, _window(number, [2.5]), drifted=True) for number in range(8, 14)]
    assert all(each is not None and each[3] == 0 for each in found[:5])
    after = [_judge(reference, _window(number, [2.5])) for number in range(14, 21)]
    assert after[0] is None
    assert after[-1] is not None
    assert after[-1][1] == 0
    assert after[-1][3] > 0


def test_rolling_takes_disjoint_windows_only() -> None:
    """A row that is in several windows that overlap counts once."""
    reference = RollingReference("rolling", ONE_COLUMN, 20 * HOUR_NS)
    for number in range(24):
        _judge(reference, _window(number, [number % 3], "2h", hop=2))
    found = reference.expect(_window(24, [], "2h", hop=2), Counts.zeros(ONE_COLUMN))
    assert found is not None
    taken = range(4, 22, 2)  # Ended two hours before hour 24 began at the latest, and not before hour 4.
    assert found.counts.tolist() == _bins(*(number % 3 for number in taken))


@pytest.mark.parametrize("length", ["1h", "24h"])
def test_rolling_agrees_with_the_sum_made_anew(length: str) -> None:
    """Pieces of the span that come and go give what the windows themselves add up to, but for the oldest piece."""
    random = np.random.default_rng(3)
    length_ns = parse_window(length).length_ns
    span_ns, piece_ns = 7 * DAY_NS, max(7 * DAY_NS // 14, length_ns)
    reference = RollingReference("rolling", ONE_COLUMN, span_ns)
    seen: list[tuple[WindowCounts, bool]] = []
    for number in range(400):
        if random.random() < 0.2:
            continue  # No rows came.
        window = _window(number, random.uniform(0, 3, 3).tolist(), length)
        assert isinstance(window.counts, Counts)
        assert window.start_ns is not None
        found = reference.expect(window, window.counts)
        if found is not None:
            start_ns = window.start_ns
            recent = [e for e, bad in seen if not bad and (e.end_ns or 0) <= start_ns - length_ns]
            least = sum(_of(e) for e in recent if (e.end_ns or 0) > start_ns - span_ns)
            most = sum(_of(e) for e in recent if (e.end_ns or 0) > start_ns - span_ns - piece_ns)
            assert (least <= found.counts).all()
            assert (found.counts <= most).all()
            assert found.rows == found.counts.sum()
        drifted = bool(random.random() < 0.1)
        reference.observe(window, window.counts, drifted=drifted)
        seen.append((window, drifted))


def _of(window: WindowCounts) -> npt.NDArray[np.float64]:
    assert isinstance(window.counts, Counts)
    return np.asarray(window.counts.bins[0], np.float64)


def test_rolling_keeps_few_pieces() -> None:
    """However many windows the span has, what is kept is bounded."""
    reference = RollingReference("rolling", ONE_COLUMN, 7 * DAY_NS)
    for number in range(5_000):
        _judge(reference, _window(number, [number % 3], "5m"))
    kept = reference.state()
    assert isinstance(kept, dict)
    ring = kept["5m"]
    assert isinstance(ring, dict)
    assert isinstance(ring["pieces"], list)
    assert isinstance(ring["newest"], list)
    assert len(ring["pieces"]) <= 16
    assert len(ring["newest"]) == 2


def test_a_long_silence_leaves_nothing_to_compare_with() -> None:
    """What is older than the span is no comparison, although no window has come to push it out."""
    reference = RollingReference("rolling", ONE_COLUMN, 4 * HOUR_NS)
    for number in range(8):
        _judge(reference, _window(number, [0.5]))
    assert reference.expect(_window(100, [0.5]), Counts.zeros(ONE_COLUMN)) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: PreviousReference("previous", ONE_COLUMN),
        lambda: RollingReference("rolling", ONE_COLUMN, 6 * HOUR_NS),
    ],
)
def test_state_goes_on_as_if_nothing_had_happened(make: Callable[[], Reference]) -> None:
    """A reference that was stored and restored gives what one that was not does; damage is named."""
    one, other = make(), make()
    random = np.random.default_rng(8)
    for number in range(40):
        window = _window(number, random.uniform(0, 3, 4).tolist())
        drifted = bool(random.random() < 0.2)
        assert _judge(one, window, drifted=drifted) == _judge(other, window, drifted=drifted)
        tree = again(other.state())
        other = make()
        other.restore(tree)
    assert_damage_is_named(other.state(), make().restore, 8)


def test_other_version_brings_its_window_along() -> None:
    """A window is compared with its counterpart, if that has rows."""
    reference = VersionReference("version 3", ONE_COLUMN)
    window = _window(0, [0.5])
    assert reference.expect(window, Counts.zeros(ONE_COLUMN)) is None
    for values, expected in (([], None), ([1.5, 2.5], _bins(1.5, 2.5))):
        other = _window(0, values).counts
        assert isinstance(other, Counts)
        found = reference.expect(replace(window, beside=other.packed()), Counts.zeros(ONE_COLUMN))
        assert (None if found is None else found.counts.tolist()) == expected


def _weeks() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], list[str | None]]:
    """Three weeks of rows whose values depend on the hour of the week; hours 100 to 110 have none."""
    random = np.random.default_rng(9)
    times = MONDAY_NS + random.integers(0, 21 * DAY_NS, 60_000)
    hours = hours_of_week(times)
    times = times[(hours < 100) | (hours > 110)]
    hours = hours_of_week(times)
    letters = np.where(random.random(len(times)) < hours / HOURS_OF_WEEK, "late", "early").tolist()
    return (
        times,
        random.normal(hours / 50, 1),
        [None if each % 7 == 0 else letter for each, letter in enumerate(letters)],
    )


def _seasonal() -> Baseline:
    times, x, c = _weeks()
    data = dataset({"time": times.astype("datetime64[ns]"), "x": x, "c": c}, "time")
    return build_baseline(data, "m", "", [], season_zone="UTC")


def _expected_by_hand(baseline: Baseline, mix: npt.NDArray[np.float64]) -> Expected:
    """From the rows themselves: each is weighed by its hour's share over its hour's rows."""
    times, x, c = _weeks()
    hours = hours_of_week(times)
    in_hour = np.bincount(hours, minlength=HOURS_OF_WEEK)
    weights = (mix / np.maximum(in_hour, 1))[hours] + mix[in_hour == 0].sum() / len(times)
    slots = np.arange(len(times), dtype=np.int32)
    bins, tallies = np.zeros(baseline.layout.size), np.zeros((2, len(Tally)))
    for first in range(0, len(times), 4_000):
        part = slice(first, first + 4_000)
        rows = predictions(times[part], {"x": x[part], "c": c[part]}).rows
        counts = Counts.zeros(baseline.layout, rows.num_rows)
        fold(baseline.layout, rows, slots[: rows.num_rows], counts)
        bins += weights[part] @ counts.bins.astype(np.float64)
        tallies += np.tensordot(weights[part], counts.tallies.astype(np.float64), axes=1)
    rows_for = 1 / (np.sum(mix**2 / np.where(in_hour, in_hour, np.inf)) + mix[in_hour == 0].sum() ** 2 / len(times))
    return Expected(bins * rows_for, float(rows_for), tallies * rows_for)


@pytest.mark.parametrize("hours", [[5], [5, 105], [105], range(168), [0, 1, 2, 99, 111, 167]])
def test_seasonal_expects_the_observed_mix_of_hours(hours: Sequence[int]) -> None:
    """The share of each hour times that hour's distribution; hours without reference rows count as all together."""
    baseline = _seasonal()
    observed = np.zeros(HOURS_OF_WEEK, np.uint64)
    observed[list(hours)] = np.random.default_rng(1).integers(1, 50, len(hours))
    counts = Counts.zeros(baseline.layout)
    counts.hours[0] = observed
    window = WindowCounts(parse_window("24h"), 0, 0, DAY_NS, 0, counts)
    found = SeasonalReference("seasonal", baseline).expect(window, counts)
    expected = _expected_by_hand(baseline, observed / observed.sum())
    assert found is not None
    np.testing.assert_allclose(found.counts, expected.counts, rtol=1e-9)
    np.testing.assert_allclose(found.tallies, expected.tallies, rtol=1e-9)
    assert found.rows == pytest.approx(expected.rows)
    values = np.add.reduceat(found.counts, baseline.layout.offsets[:-1])
    np.testing.assert_allclose(values + found.tallies[:, Tally.MISSING], found.rows, rtol=1e-9)


def test_seasonal_has_nothing_for_a_window_without_rows() -> None:
    """Nothing observed, nothing expected."""
    baseline = _seasonal()
    counts = Counts.zeros(baseline.layout)
    window = WindowCounts(parse_window("24h"), 0, 0, DAY_NS, 0, counts)
    assert SeasonalReference("seasonal", baseline).expect(window, counts) is None


def test_seasons_add_up_to_the_column() -> None:
    """All hours together are the counts of the column."""
    for column in _seasonal().columns:
        assert column.seasons is not None
        added = np.bincount(column.seasons.places, column.seasons.bins.astype(np.float64), len(column.counts))
        np.testing.assert_array_equal(added, column.counts)
        assert column.seasons.tallies[:, Tally.MISSING].sum() == column.missing


def test_windows_with_a_counterpart_are_stored_with_it() -> None:
    """A window that waits for its evaluation keeps what it is compared with."""
    other = _window(0, [1.5]).counts
    assert isinstance(other, Counts)
    window = replace(_window(0, [0.5]), beside=other.packed())
    restored = WindowCounts.from_state(again(window.state()), ONE_COLUMN)
    assert restored.beside is not None
    np.testing.assert_array_equal(restored.beside.dense(ONE_COLUMN).bins, other.bins)
    assert WindowCounts.from_state(again(_window(0, []).state()), ONE_COLUMN).beside is None


def test_what_is_beyond_the_range_as_before_is_no_distance_to_the_window_before() -> None:
    """Values far above the baseline's are as far from it as they are, and not from the window before; more are."""
    random = np.random.default_rng(3)
    times = np.arange(400) * DAY_NS // 10
    reference = dataset({"time": times.astype("datetime64[ns]"), "x": random.normal(size=400)}, "time")
    baseline = build_baseline(reference, "m", "", [parse_window("24h")])
    previous = PreviousReference("previous", baseline.layout)
    detector = Detector(ModelKey("m", "", ""), baseline, [FixedReference(baseline), previous], DetectConfig())
    found = []
    for number, high in enumerate((500, 500, 900)):
        values = random.normal(size=1_000)
        values[:high] = 100 + np.arange(high) % 7
        counts = Counts.zeros(baseline.layout)
        fold(baseline.layout, predictions([0] * 1_000, {"x": values}).rows, np.zeros(1_000, np.int32), counts)
        start_ns = MONDAY_NS + number * DAY_NS
        window = WindowCounts(parse_window("24h"), number, start_ns, start_ns + DAY_NS, 0, counts)
        findings = detector.evaluate([window]).findings.filter(method="wasserstein")
        found.append(dict(findings.select("baseline", "value").iter_rows()))
    assert all(each["file"] > 40 for each in found)
    assert found[0]["previous"] is None
    assert found[1]["previous"] < 0.2
    assert found[2]["previous"] == pytest.approx(0.4 * 100, abs=3)
