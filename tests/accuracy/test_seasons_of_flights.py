"""The seasons of a real year, and a drift so slow that a rolling reference swallows it."""

import pytest

from accuracy import seasons
from accuracy.seasons import Season


@pytest.fixture(scope="module")
def year() -> dict[tuple[str, str], Season]:
    """What each reference says of the year's months, by reference and what is watched."""
    return {(each.reference, each.watched.partition(" (")[0] + each.watched[-4:]): each for each in seasons.year()}


@pytest.mark.parametrize("reference", ["file", "seasonal, UTC", "seasonal, America/New_York"])
@pytest.mark.parametrize("window", [" 24h", ", 6h"])
def test_weekly_rhythm_is_no_drift_and_summer_is(
    year: dict[tuple[str, str], Season], reference: str, window: str
) -> None:
    """Weekdays, carriers and origins never drift; the weather does not in February, and always does in July."""
    assert set(year[reference, f"rhythm{window}"].drifted.values()) == {0.0}
    weather = year[reference, f"weather{window}"].drifted
    assert (weather["2"], weather["7"]) == (0.0, 1.0)


def test_daylight_saving_is_drift_by_the_wrong_clocks_alone(year: dict[tuple[str, str], Season]) -> None:
    """The local hour of departure drifts all summer by the hours of UTC, and never by those of New York."""
    assert year["seasonal, UTC", "local clock 24h"].drifted["7"] == 1.0
    assert set(year["seasonal, America/New_York", "local clock 24h"].drifted.values()) == {0.0}


def test_what_a_rolling_reference_swallows_is_seen_against_the_anchor() -> None:
    """Two standard deviations in half a year: hardly a day drifts against the last seven; the anchor shows it."""
    slow = seasons.slow_drift(seed=0)
    assert slow.rolling < 0.1
    assert slow.fixed > 0.8
    assert slow.anchor > 10 * slow.anchor_noise
