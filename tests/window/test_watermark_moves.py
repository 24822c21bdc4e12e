"""How the watermark follows rows and the clock."""

from hypothesis import given
from hypothesis import strategies as st

from driftmeter.window.watermark import NEVER_NS, Watermark

OPERATIONS = st.lists(st.tuples(st.sampled_from(["observe", "tick"]), st.integers(0, 10**6), st.integers(0, 10**6)))


@given(OPERATIONS, st.booleans(), st.integers(0, 1000), st.integers(0, 1000))
def test_never_goes_back(steps: list[tuple[str, int, int]], by_data: bool, behind: int, idle: int) -> None:  # noqa: FBT001
    """Whatever rows and clock readings come, even a clock that is set back, the watermark only rises."""
    watermark = Watermark(behind, by_data, idle)
    before = watermark.value_ns
    for what, newest, now in steps:
        if what == "observe":
            watermark.observe(newest, now)
        else:
            watermark.tick(now)
        assert watermark.value_ns >= before
        before = watermark.value_ns


def test_follows_the_newest_row_or_the_clock_whichever_is_earlier() -> None:
    """A row from the future moves the watermark to the clock, not beyond it."""
    watermark = Watermark(out_of_orderness_ns=10, by_data=False, idle_after_ns=60)
    watermark.observe(100, now_ns=105)
    assert watermark.value_ns == 90
    watermark.observe(500, now_ns=110)
    assert watermark.value_ns == 100
    watermark.observe(50, now_ns=115)
    assert watermark.value_ns == 100


def test_by_data_the_clock_plays_no_part() -> None:
    """With event times alone, neither a late clock holds it back nor does idleness move it."""
    watermark = Watermark(out_of_orderness_ns=10, by_data=True, idle_after_ns=60)
    watermark.observe(500, now_ns=0)
    assert watermark.value_ns == 490
    watermark.tick(10**9)
    assert watermark.value_ns == 490


def test_an_idle_model_is_moved_by_the_clock() -> None:
    """After `idle_after` without rows the clock moves it; before that, and before any row, it does not."""
    watermark = Watermark(out_of_orderness_ns=10, by_data=False, idle_after_ns=60)
    watermark.tick(10_000)
    assert watermark.value_ns == NEVER_NS
    watermark.observe(100, now_ns=200)
    watermark.tick(259)
    assert watermark.value_ns == 90
    watermark.tick(260)
    assert watermark.value_ns == 250


def test_a_clock_that_was_ahead_does_not_hold_it() -> None:
    """Rows came by a clock that was ahead: once it is set right, an idle model is moved by it as any other."""
    watermark = Watermark(out_of_orderness_ns=10, by_data=False, idle_after_ns=60)
    watermark.observe(100, now_ns=86_400)
    watermark.tick(86_400 - 59)
    assert watermark.value_ns == 90
    for now in (300, 360):
        watermark.tick(now)
        assert watermark.value_ns == now - 10
    watermark.observe(310, now_ns=370)
    watermark.tick(429)
    assert watermark.value_ns == 350
    watermark.tick(430)
    assert watermark.value_ns == 420
