"""Configuration of the verdicts."""

from pydantic import BaseModel, ConfigDict, Field


class DetectConfig(BaseModel):
    """When a column is called drifted. The Jensen-Shannon distance decides; the other methods inform."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_rows: int = Field(default=100, ge=1)
    """Windows, and chunks of the baseline, in which fewer rows have a value are `insufficient`: they neither raise an
    alarm nor end one."""
    min_effect: float = Field(default=0.1, ge=0, le=1)
    """Smallest effect (Jensen-Shannon distance beyond noise, 0 to 1) that counts as drift, however sure it is."""
    level: float = Field(default=0.01, gt=0, lt=1)
    """How surprising a window must be against the baseline's own chunks: the probability of one as far away without
    drift."""
