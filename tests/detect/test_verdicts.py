"""Drift begins at two of the last three windows that can be judged, and goes on while one of them exceeds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftmeter.detect.verdict import Rule, Verdicts
from driftmeter.errors import DamagedError
from stored_states import again, assert_damage_is_named

TWO_OF_THREE = Rule()

WINDOW = st.tuples(st.booleans(), st.booleans())


def verdicts_of(windows: str, rule: Rule = TWO_OF_THREE, stride: int = 1) -> str:
    """`x` exceeds, `.` does not, `-` cannot be judged; out come `1`, `0` and `-`."""
    made = Verdicts(1, rule, stride)
    out = []
    for index, mark in enumerate(windows):
        verdict = made.judge(index, 0, np.array([mark == "x"]), np.array([mark != "-"]))[0]
        out.append("-" if np.isnan(verdict) else str(int(verdict)))
    return "".join(out)


@pytest.mark.parametrize(
    ("windows", "verdicts"),
    [
        ("x", "0"),
        ("xx", "01"),
        ("x.x", "001"),
        ("x..x", "0000"),
        ("xx..", "0111"),
        ("xx...", "01110"),
        ("xx..x.", "011111"),
        ("xx.x.x.", "0111111"),
        ("---", "---"),
        ("x-x", "0-1"),
        ("x--.--x", "0--0--1"),
        ("xx-.-.-.", "01-1-1-0"),
        ("-xx", "-01"),
    ],
)
def test_drawn_sequences(windows: str, verdicts: str) -> None:
    """Drift from two of the last three until none is; windows that cannot be judged neither count nor reset."""
    assert verdicts_of(windows) == verdicts


@pytest.mark.parametrize(
    ("windows", "rule", "verdicts"),
    [
        ("xx..x", Rule(2, 3, 2), "01100"),
        ("x.x..", Rule(1, 1, 1), "10100"),
        ("xx.x...", Rule(3, 5, 2), "0001110"),
    ],
)
def test_drawn_sequences_of_other_rules(windows: str, rule: Rule, verdicts: str) -> None:
    """Other numbers of windows to begin with, to look at and to go on with."""
    assert verdicts_of(windows, rule) == verdicts


def test_the_verdict_on_a_window_stands_for_those_that_overlap_it() -> None:
    """With a stride of two every second window is judged: neighbours share rows and prove nothing."""
    assert verdicts_of("xx..", stride=2) == "0000"
    assert verdicts_of("x.x.x", stride=2) == "00111"
    assert verdicts_of("-x.-x-", stride=2) == "--0-0-"


@given(st.lists(WINDOW, max_size=60), st.integers(1, 6))
def test_windows_that_overlap_raise_no_further_alarm(windows: list[tuple[bool, bool]], stride: int) -> None:
    """What is said of every stride-th window is what would be said of these alone; the others repeat it."""
    text = "".join("-" if not judged else "x" if exceeds else "." for exceeds, judged in windows)
    made = verdicts_of(text, stride=stride)
    assert made[::stride] == verdicts_of(text[::stride])
    standing = "-"
    for index, verdict in enumerate(made):
        if index % stride == 0 and verdict != "-":
            standing = verdict
        assert verdict == ("-" if text[index] == "-" else standing)


@given(st.lists(WINDOW, max_size=40))
def test_looks_at_the_last_three_judged(windows: list[tuple[bool, bool]]) -> None:
    """The verdict of a judged window looks at the judged windows alone, and at the verdict before."""
    text = "".join("-" if not judged else "x" if exceeds else "." for exceeds, judged in windows)
    judged = [mark for mark in text if mark != "-"]
    expected, drifts = [], False
    for i in range(len(judged)):
        exceeding = judged[max(0, i - 2) : i + 1].count("x")
        drifts = exceeding >= 2 or (drifts and exceeding >= 1)
        expected.append(str(int(drifts)))
    assert [mark for mark in verdicts_of(text) if mark != "-"] == expected


def test_columns_are_judged_apart() -> None:
    """One column's windows say nothing about another's."""
    made = Verdicts(2)
    yes, no = np.array([True, False]), np.array([True, True])
    made.judge(0, 0, yes, no)
    assert made.judge(1, 0, yes, no).tolist() == [1, 0]
    third = made.judge(2, 0, yes, np.array([True, False]))
    assert third[0] == 1
    assert np.isnan(third[1])


def test_revisions_keep_the_verdict() -> None:
    """Late rows change values, not verdicts already sent, and do not count as further windows."""
    made = Verdicts(1)
    sure, never = np.array([True]), np.array([False])
    made.judge(0, 0, sure, sure)
    assert made.judge(0, 1, never, sure).tolist() == [0]
    assert made.judge(1, 0, sure, sure).tolist() == [1]
    assert made.judge(1, 1, never, sure).tolist() == [1]
    assert made.judge(2, 0, never, sure).tolist() == [1]


def test_window_first_seen_insufficient_is_judged_when_its_rows_have_come() -> None:
    """No verdict was made of it yet, so a revision with enough rows makes it; then it stays."""
    made = Verdicts(1)
    some, none = np.array([True]), np.array([False])
    assert np.isnan(made.judge(0, 0, some, none)[0])
    assert made.judge(0, 1, some, some).tolist() == [0]
    assert made.judge(1, 0, some, some).tolist() == [1]
    assert made.judge(0, 2, some, some).tolist() == [0]


def test_memory_is_bounded() -> None:
    """Only so many old verdicts are kept; a revision of an older window has none."""
    made = Verdicts(1)
    sure = np.array([True])
    for index in range(3000):
        made.judge(index, 0, sure, sure)
    assert len(made._places) <= 1000 >= len(made._table)
    assert np.isnan(made.judge(0, 1, sure, sure)[0])
    assert made.judge(2999, 1, sure, sure).tolist() == [1]


def _restarted(made: Verdicts) -> Verdicts:
    fresh = Verdicts(made.columns)
    fresh.restore(again(made.state()))
    return fresh


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.booleans(), *[st.booleans()] * 4), max_size=40),
)
def test_restarts_change_no_verdict(steps: list[tuple[int, int, bool, bool, bool, bool, bool]]) -> None:
    """Windows and revisions in any order, restarted anywhere: the same verdicts as without."""
    undisturbed = disturbed = Verdicts(2)
    disturbed = _restarted(undisturbed)
    for index, revision, restart, *bits in steps:
        exceeds, sufficient = np.array(bits[:2]), np.array(bits[2:])
        expected = undisturbed.judge(index, revision, exceeds, sufficient)
        np.testing.assert_array_equal(expected, disturbed.judge(index, revision, exceeds, sufficient))
        if restart:
            disturbed = _restarted(disturbed)


def test_restarts_forget_the_same_windows() -> None:
    """When more windows were judged than are remembered, the oldest go first after a restart, too."""
    undisturbed, sure = Verdicts(1), np.array([True])
    for index in range(1500):
        undisturbed.judge(index, 0, sure, sure)
    disturbed = _restarted(undisturbed)
    for made in (undisturbed, disturbed):
        made.judge(1500, 0, sure, sure)
    for index in (0, 499, 500, 501, 502, 1499, 1500):
        expected = undisturbed.judge(index, 1, sure, sure)
        np.testing.assert_array_equal(expected, disturbed.judge(index, 1, sure, sure))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_damaged_state_is_named(seed: int) -> None:
    """Whatever is wrong with stored verdicts, it is an error with a name or does no harm."""
    made, sure = Verdicts(1), np.array([True])
    for index in range(5):
        made.judge(index, 0, sure, sure)
    assert_damage_is_named(made.state(), lambda tree: Verdicts(1).restore(tree), seed)
    with pytest.raises(DamagedError, match="shape"):
        Verdicts(2).restore(made.state())
