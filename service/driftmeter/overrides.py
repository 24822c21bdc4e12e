"""What is otherwise for some models than for all."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from driftmeter.baseline.config import BaselineConfig
from driftmeter.detect.config import DetectConfig
from driftmeter.model.predictions import ModelKey
from driftmeter.model.segments import OTHER, label_of, values_of
from driftmeter.window.config import WindowConfig

_Part = TypeVar("_Part", bound=BaseModel)
_FOR_ALL = {"window": ("clock", "max_future"), "baseline": ("files",)}
"""Fields by part that are read before it is known which model is meant."""


def _without_signs(segments: dict[str, int]) -> dict[str, int]:
    wrong = [name for name in segments if not name or "=" in name]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no name of a segment: it has one or more characters and no =")
    return segments


SegmentsConfig = Annotated[
    dict[str, Annotated[int, Field(ge=1, le=1000)]], Field(max_length=8), AfterValidator(_without_signs)
]
"""Most segments by the name of their column."""


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of one model."""

    window: WindowConfig
    baseline: BaselineConfig
    detect: DetectConfig
    segments: Mapping[str, int] = field(default_factory=dict)

    def labels_of(self, known: Iterable[str]) -> list[str]:
        """Labels of the segments that are judged by themselves.

        Args:
            known: Labels of those that the baseline has, the commonest of each column first.
        """
        there = list(known)
        kept: list[str] = []
        for name, most in self.segments.items():
            values = values_of(there, name)
            kept += [label_of(name, value) for value in values[:most]]
            other = label_of(name, OTHER)
            # Of a column with more values than are asked for, the baseline's others are not those of today.
            kept += [other] if other in there and len(values) <= most else []
        return kept


@dataclass(frozen=True)
class _PartOf:
    """Describes a mapping as some of the fields of a part of the configuration."""

    part: type[BaseModel]

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(self.part.__pydantic_core_schema__)


class ModelOverrides(BaseModel):
    """An entry of `models`. Names may have the wildcards `*` and `?`; a model fits when all three do."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = "*"
    """The model's name: price*."""
    version: str = "*"
    """Its version."""
    stage: str = "*"
    """Its stage."""
    window: Annotated[Mapping[str, Any], _PartOf(WindowConfig)] = {}
    """Fields of `window` that are otherwise, all but `clock` and `max_future`."""
    baseline: Annotated[Mapping[str, Any], _PartOf(BaselineConfig)] = {}
    """Fields of `baseline` that are otherwise, all but `files`, which say themselves whose they are."""
    detect: Annotated[Mapping[str, Any], _PartOf(DetectConfig)] = {}
    """Fields of `detect` that are otherwise; in fields that have names of their own, those names that are given."""
    segments: SegmentsConfig | None = None
    """In the place of `segments`; an empty mapping for none."""

    def fits(self, key: ModelKey) -> bool:
        """Whether this entry is about a model."""
        return all(
            fnmatchcase(*each)
            for each in ((key.model, self.model), (key.version, self.version), (key.stage, self.stage))
        )

    def over(self, general: ModelConfig) -> ModelConfig:
        """The configuration of a model that fits; raises ValidationError where `mistakes` has some."""
        return replace(
            general,
            window=_laid_over(general.window, self.window),
            baseline=_laid_over(general.baseline, self.baseline),
            detect=_laid_over(general.detect, self.detect),
            segments=general.segments if self.segments is None else self.segments,
        )

    def mistakes(self, general: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
        """What is wrong with the fields of this entry, by their place in it.

        Args:
            general: The parts of the configuration that have no mistake, by name.
        """
        for name in ("window", "baseline", "detect"):
            given: Mapping[str, Any] = getattr(self, name)
            for each in given.keys() & _FOR_ALL.get(name, ()):
                words = f"{each} holds for all models: set it in {name}, outside of models"
                yield _mistake("value_error", words, (name, each), given[each])
            try:
                if name in general:
                    _laid_over(general[name], given)
            except ValidationError as error:
                for found in error.errors(include_url=False):
                    yield _mistake(found["type"], found["msg"], (name, *found["loc"]), found["input"])


def _mistake(kind: str, words: str, place: tuple[int | str, ...], given: Any) -> InitErrorDetails:
    """The words as they are, braces included."""
    error = PydanticCustomError(kind, "{words}", {"words": words})
    return InitErrorDetails(type=error, loc=place, input=given)


def _laid_over(part: _Part, fields: Mapping[str, Any]) -> _Part:
    """The part with some fields changed; raises ValidationError when they do not fit."""
    return type(part).model_validate(_merged(part.model_dump(exclude_unset=True), fields))


def _merged(general: Mapping[str, Any], special: Mapping[str, Any]) -> dict[str, Any]:
    """Names of both, those of `special` first, in mappings within mappings too."""
    merged = {**general, **special}
    for name in general.keys() & special.keys():
        if isinstance(general[name], Mapping) and isinstance(special[name], Mapping):
            merged[name] = _merged(general[name], special[name])
    return merged
