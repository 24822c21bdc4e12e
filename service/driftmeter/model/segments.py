"""Segments: groups of a model's rows, such as those of one country, that are judged as the model itself is."""

from collections.abc import Iterable

OTHER = "other"
"""Value that stands for all that have no segment of their own, and for rows without a value."""

VALUES_MAX = 8
"""Values of a column that get a segment of their own in a baseline unless told otherwise."""


def label_of(name: str, value: str) -> str:
    """A segment's label: `country=DE`. Names have no `=`, values may."""
    return f"{name}={value}"


def values_of(labels: Iterable[str], name: str) -> list[str]:
    """Values with a segment of their own, in the order of the labels."""
    prefix = label_of(name, "")
    return [label.removeprefix(prefix) for label in labels if label.startswith(prefix) and label != f"{prefix}{OTHER}"]
