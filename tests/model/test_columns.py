"""Columns and their names in tables."""

import pytest

from driftmeter.model.columns import SCORED_ROLES, Column, Role, is_scored_field


@pytest.mark.parametrize("role", Role)
def test_columns_of_scored_roles_are_scored(role: Role) -> None:
    """By the role alone, whatever the column is called."""
    for name in ("temp", "label.x", "feature."):
        assert is_scored_field(Column(role, name).field) == (role in SCORED_ROLES)


@pytest.mark.parametrize("field", ["timestamp", "prediction_id", "features.x", "feature", ""])
def test_other_fields_are_not_scored(field: str) -> None:
    """A role's name without its dot is no prefix."""
    assert not is_scored_field(field)
