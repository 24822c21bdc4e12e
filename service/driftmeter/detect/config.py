"""Configuration of the verdicts."""

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from driftmeter.methods import DECIDING_METHODS, METHODS
from driftmeter.methods.ratios import MODEL_RATIOS, RATIOS, ROWS
from driftmeter.methods.sampled import SAMPLED
from driftmeter.model.windows import instant_ns

_VOLUME_MIN_EFFECT = 0.5
"""Natural logarithm: 1.65 times the usual rows, or 0.61 of them."""

DEFAULT_MIN_EFFECTS: Mapping[str, float] = MappingProxyType(
    {key: METHODS[key].default_min_effect or 0.0 for key in DECIDING_METHODS}
    | {key: spec.default_min_effect for key, spec in {**RATIOS, **MODEL_RATIOS}.items()}
    | {ROWS: _VOLUME_MIN_EFFECT}
)
"""Smallest effect worth an alarm of everything that decides, unless configured."""

Effect = Annotated[float, Field(ge=0)]


class FeatureConfig(BaseModel):
    """What is different for some columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    min_effect: dict[str, Effect] = {}
    """Smallest effect by method, as `detect.min_effect`, for these columns alone."""
    weight: float = Field(default=1.0, ge=0)
    """How much these columns count in the share of drifted features. 0: they have scores and verdicts of their own, and
    no say in whether the model has drifted."""

    @model_validator(mode="after")
    def _check(self) -> "FeatureConfig":
        _check_methods(self.min_effect)
        return self


class MaintenanceConfig(BaseModel):
    """A time whose windows get no verdict."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    start: datetime
    """First instant, such as 2025-03-01T22:00:00Z; UTC unless it says otherwise."""
    end: datetime
    """First instant after it."""
    model: str = "*"
    """Models it is for; wildcards are allowed."""

    @model_validator(mode="after")
    def _check(self) -> "MaintenanceConfig":
        if self.end_ns <= self.start_ns:
            raise ValueError("a maintenance must end after its start")
        return self

    @property
    def start_ns(self) -> int:
        """First instant, nanoseconds since the epoch."""
        return instant_ns(self.start)

    @property
    def end_ns(self) -> int:
        """First instant after it."""
        return instant_ns(self.end)


class DetectConfig(BaseModel):
    """When a column, and with it its model, is called drifted.

    Of a column's distribution Jensen-Shannon and the normalised Wasserstein distance decide, of its values the ratios
    of missing, mismatched, non-finite, out-of-range and unseen ones, whether they are all the same, and how old the
    newest is; of the model its rows, and the ratios of repeated and incomplete ones. The other methods inform. A window
    exceeds when it is more surprising than the level and its effect is large enough.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    false_alarms_per_week: float = Field(default=1.0, gt=0)
    """How often a model without drift may go from no drift to drift, over all its columns and windows together. The
    level is set by it, by a replay of the baseline. A baseline must cover at least the time in which one is allowed."""
    needed: int = Field(default=2, ge=1, le=20)
    """Windows that must exceed among the last `of` for drift."""
    of: int = Field(default=3, ge=1, le=20)
    """Windows that are looked at: the last ones that could be judged, none of which overlap."""
    keeps: int = Field(default=1, ge=1, le=20)
    """What has drifted stays so as long as so many of the last `of` windows exceed; at most `needed`."""
    min_rows: int = Field(default=100, ge=1)
    """Windows, and chunks of the baseline, in which fewer rows have a value are `insufficient`: they neither raise an
    alarm nor end one."""
    min_effect: dict[str, Effect] = {}
    """Smallest effect that counts as drift, however sure it is, by method and in its unit beyond noise; those not named
    keep their defaults: jensen_shannon 0.1, wasserstein_normalised 0.1 (standard deviations), missing_ratio,
    type_mismatch_ratio and non_finite_ratio 0.005 (of the rows), out_of_range_ratio and unseen_ratio 0.01,
    constant_ratio 0.005 (of the values: how much more of them are the commonest one than usual), freshness_ratio 0.25
    (of the window's time), duplicate_ratio 0.05 and incomplete_ratio 0.005 (of the rows), rows 0.5 (natural
    logarithm)."""
    volume_weight: float = Field(default=0.0, ge=0)
    """Whether the number of rows per window has a say in the model's drift: 0 gives it a score and a verdict of its own
    alone, as baselines made of training data seldom have the rows of live traffic."""
    duplicates_weight: float = Field(default=0.0, ge=0)
    """The same for rows that repeat another one: of fewer different rows than a window has, more repeat each other the
    more there are, and training data are often rid of them."""
    incomplete_weight: float = Field(default=0.0, ge=0)
    """The same for rows whose sender dropped attributes: no file of reference rows has any, so every one is unusual;
    where they were of a feature, its missing values have a say."""
    freshness_weight: float = Field(default=0.0, ge=0)
    """The same for the age of each column's newest value: training data seldom have the times of live traffic. A column
    that falls silent for whole windows has missing values, too, which have a say."""
    features: dict[str, FeatureConfig] = {}
    """What is different for some columns, by name; wildcards are allowed, and the first that fits is taken."""
    maintenance: tuple[MaintenanceConfig, ...] = ()
    """Times whose windows get scores, and no verdict."""
    multivariate: tuple[str, ...] = tuple(SAMPLED)
    """What is computed of all columns together, on a sample of each window's rows: pca_reconstruction,
    domain_classifier, maximum_mean_discrepancy, isolation_forest. They inform and decide nothing. An empty list
    computes none."""

    @field_validator("multivariate")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        for key in methods:
            if key not in SAMPLED:
                raise ValueError(f"there is no method {key!r} on samples; there is {', '.join(SAMPLED)}")
        return tuple(dict.fromkeys(methods))

    @model_validator(mode="after")
    def _check(self) -> "DetectConfig":
        if not self.keeps <= self.needed <= self.of:
            raise ValueError("needed must be at most of, and keeps at most needed")
        _check_methods(self.min_effect)
        return self

    def of_column(self, name: str) -> FeatureConfig:
        """What is different for a column."""
        return next((each for glob, each in self.features.items() if fnmatchcase(name, glob)), FeatureConfig())

    def min_effects(self, name: str) -> dict[str, float]:
        """Smallest effect of everything that decides, for a column."""
        return {**DEFAULT_MIN_EFFECTS, **self.min_effect, **self.of_column(name).min_effect}

    def in_maintenance(self, model: str, start_ns: int | None, end_ns: int | None) -> bool:
        """Whether a window of a model lies in a maintenance, if only in part."""
        if start_ns is None or end_ns is None:
            return False
        return any(
            each.start_ns < end_ns and start_ns < each.end_ns and fnmatchcase(model, each.model)
            for each in self.maintenance
        )


def _check_methods(min_effect: Mapping[str, float]) -> None:
    for key in min_effect:
        if key in METHODS and key not in DECIDING_METHODS:
            raise ValueError(
                f"{key} informs and decides nothing, so it has no smallest effect; "
                f"there is one for {', '.join(DEFAULT_MIN_EFFECTS)}"
            )
        if key not in DEFAULT_MIN_EFFECTS:
            raise ValueError(f"there is no method {key!r}; there is {', '.join(DEFAULT_MIN_EFFECTS)}")
