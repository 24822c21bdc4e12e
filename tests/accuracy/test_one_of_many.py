"""Small parts of a model that drift alone."""

from accuracy.detection import one_segment_of_several


def test_drift_of_one_segment_is_found_where_segments_are_judged() -> None:
    """One column moves by a standard deviation in one segment of eight, 125 rows a day of it."""
    found = one_segment_of_several(seed=1, repeats=3)
    assert found.soon == 1
