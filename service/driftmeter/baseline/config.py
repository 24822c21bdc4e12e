"""Configuration of the baselines."""

from pydantic import BaseModel, ConfigDict, Field


class BaselineConfig(BaseModel):
    """Which baselines there are, and what to do for models without one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    files: tuple[str, ...] = ()
    """Baseline files made by `driftmeter baseline build`; wildcards are allowed: baselines/*.parquet. A file built
    with an empty version serves every version of its model that has none of its own."""
    learn_rows: int = Field(default=10_000, ge=100)
    """Rows from which a model without a baseline file learns one; they wait in memory until there are so many.
    Scores against a learned baseline carry no verdict. At least 100."""
