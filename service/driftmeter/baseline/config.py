"""Configuration of the baselines."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from driftmeter.model.settings import Duration

_SORTS = ("file", "rolling", "seasonal", "previous", "version")
_FORMS = "write file, previous, {rolling: 7d}, {seasonal: hour-of-week} or {version: '3'}"


class ReferenceConfig(BaseModel):
    """One thing that windows are compared with; exactly one of its fields beside `name` is given.

    Short forms: `file` and `previous` by themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: Literal[True] | None = None
    """The model's baseline: its file's, or the one that was learned."""
    rolling: Duration | None = None
    """The model's own windows of so long, without those that drifted; such as 7d."""
    seasonal: Literal["hour-of-week"] | None = None
    """The baseline at the hours of the week that a window's rows are of; the file has to be built with
    `--seasonal hour-of-week`."""
    previous: Literal[True] | None = None
    """The window before."""
    version: str | None = None
    """The same window of this version of the model, live. Rows are then counted in the bins of that version's
    baseline."""
    name: str | None = Field(default=None, min_length=1, max_length=100)
    """The `baseline` label; by default file or learned, rolling, seasonal, previous, or version and its name."""

    @model_validator(mode="before")
    @classmethod
    def _of_short_form(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given not in ("file", "previous"):
            raise ValueError(f"{given!r} is nothing to compare with: {_FORMS}")
        return {given: True}

    @model_validator(mode="after")
    def _is_one_thing(self) -> "ReferenceConfig":
        if len(self._given) != 1:
            raise ValueError(f"names {' and '.join(self._given) or 'nothing to compare with'}: {_FORMS}")
        return self

    @property
    def _given(self) -> list[str]:
        return [name for name in _SORTS if getattr(self, name) is not None]

    @property
    def sort(self) -> str:
        """Which one it is: file, rolling, seasonal, previous or version."""
        return self._given[0]

    @property
    def label(self) -> str:
        """The `baseline` label; `file` for what may be `learned` too."""
        return self.name or (f"version {self.version}" if self.sort == "version" else self.sort)


class BaselineConfig(BaseModel):
    """Which baselines there are, and what to do for models without one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    files: tuple[str, ...] = ()
    """Baseline files made by `driftmeter baseline build`; wildcards are allowed: baselines/*.parquet. A file built
    with an empty version serves every version of its model that has none of its own. Files that change are read again,
    and new ones are found."""
    learn_rows: int = Field(default=10_000, ge=100)
    """Rows from which a model without a baseline file learns one; they wait in memory until there are so many.
    Scores against a learned baseline carry no verdict before a week and 20 windows were seen. At least 100."""
    references: tuple[ReferenceConfig, ...] = Field(
        default=(ReferenceConfig(file=True),), json_schema_extra={"minItems": 1}
    )
    """What windows are compared with, each under its own `baseline` label: file, previous, {rolling: 7d},
    {seasonal: hour-of-week}, {version: '3'}. The first one raises the alarm of the model."""

    @field_validator("references")
    @classmethod
    def _can_be_told_apart(cls, references: tuple[ReferenceConfig, ...]) -> tuple[ReferenceConfig, ...]:
        if not references:
            raise ValueError(f"at least 1 is needed: {_FORMS}")
        labels = [each.label for each in references]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} stands here twice; give each its own name")
        if "learned" in labels and any(each.sort == "file" and each.name is None for each in references):
            raise ValueError("the name learned is that of baselines that are learned; choose another one")
        if len({each.version for each in references if each.sort == "version"}) > 1:
            raise ValueError("rows can be counted in the bins of one other version alone; leave all but one out")
        return references

    @property
    def other_version(self) -> str | None:
        """The version that windows are compared with; None when they are with none."""
        return next((each.version for each in self.references if each.version is not None), None)
