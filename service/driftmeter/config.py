"""One YAML file and the environment to the service's configuration."""

import os
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, InitErrorDetails

from driftmeter.baseline.config import BaselineConfig
from driftmeter.columnar.config import AttributesConfig
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import ConfigError
from driftmeter.export.config import ExportConfig
from driftmeter.ingest.config import IngestConfig
from driftmeter.journal.config import JournalConfig
from driftmeter.model.predictions import ModelKey
from driftmeter.overrides import ModelConfig, ModelOverrides, SegmentsConfig
from driftmeter.window.config import WindowConfig

ENVIRONMENT_PREFIX = "DRIFTMETER_"
OTHER_VARIABLES = frozenset(
    {
        "DRIFTMETER_CACHE_DIR",  # Compiled kernels.
        "DRIFTMETER_CACHE",  # Components that the tests use.
        "DRIFTMETER_REQUIRE",  # Of the tests.
        "DRIFTMETER_ENDPOINT",  # These three are of the Collector's configuration.
        "DRIFTMETER_COLLECTOR_LISTEN",
        "DRIFTMETER_COLLECTOR_STORAGE",
    }
)
"""Variables that begin as those of the configuration do, and are not of it."""
_KUBERNETES = re.compile(
    r"DRIFTMETER(_\w+)?_(SERVICE_(HOST|PORT)(_\w+)?=.*|PORT(=\w+://.*|_\d+_(TCP|UDP|SCTP)(_\w+)?=.*))", re.DOTALL
)
"""Variables that Kubernetes sets in every pod beside a service that is called driftmeter."""


Place = tuple[str | int, ...]
"""Names and list positions from the top of the file to a value."""


class Config(BaseModel):
    """Configuration of `driftmeter serve`. Every part may be left out.

    Every value can be given in the environment instead, which wins over the file: DRIFTMETER_ and the path in capitals,
    two underscores between its parts, the value as YAML: DRIFTMETER_EXPORT__INTERVAL=10s,
    DRIFTMETER_WINDOW__LENGTHS='[5m, 1h]'. So can a whole part, in the place of the file's: DRIFTMETER_WINDOW.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ingest: IngestConfig = IngestConfig()
    """Where OTLP requests are taken."""
    attributes: AttributesConfig = AttributesConfig()
    """Which span attributes say what."""
    journal: JournalConfig = JournalConfig()
    """Where what is accepted is kept."""
    window: WindowConfig = WindowConfig()
    """How rows are cut into windows."""
    baseline: BaselineConfig = BaselineConfig()
    """What windows are compared with."""
    detect: DetectConfig = DetectConfig()
    """When a column is called drifted."""
    export: ExportConfig = ExportConfig()
    """Where results are sent."""
    segments: SegmentsConfig = {}
    """Groups of rows that are judged like the model itself, each against its own part of the baseline: names of
    `ml.segment.*` and how many of their values, the baseline's most frequent: `{country: 8}`. All other values together
    are one more. The baseline has to be built with `--segment`."""
    models: tuple[ModelOverrides, ...] = ()
    """What is otherwise for some models: the first entry that a model fits holds, the others do not. So each
    configuration that a model can have is checked at start."""

    @field_validator("models")
    @classmethod
    def _overrides_fit(cls, models: tuple[ModelOverrides, ...], info: ValidationInfo) -> tuple[ModelOverrides, ...]:
        """The general parts with each entry's over them, as its models will have them."""
        mistakes = [
            InitErrorDetails(type=mistake["type"], loc=(position, *mistake["loc"]), input=mistake["input"])
            for position, entry in enumerate(models)
            for mistake in entry.mistakes(info.data)
        ]
        if mistakes:
            raise ValidationError.from_exception_data("models", mistakes)
        return models

    def for_model(self, key: ModelKey) -> ModelConfig:
        """What holds for one model, version and stage."""
        general = ModelConfig(self.window, self.baseline, self.detect, self.segments)
        return next((entry.over(general) for entry in self.models if entry.fits(key)), general)


def load_config(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read the file, lay the environment over it and check everything.

    Raises:
        ConfigError: With all mistakes, each with its place and what to do.
    """
    source = str(path) if path else "the environment"
    tree = _read_tree(path) if path else {}
    overlay = _Overlay(environment)
    overlay.lay_over(tree)
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        found = [_line(mistake, overlay) for mistake in error.errors(include_url=False)]
        raise ConfigError(_message(source, found + overlay.mistakes)) from error
    if overlay.mistakes:
        raise ConfigError(_message(source, overlay.mistakes))
    return config


def _message(source: str, mistakes: Sequence[str]) -> str:
    """All mistakes, one a line."""
    head = f"{source}: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"
    return "\n".join([head, *(f"  {each}" for each in mistakes), "See all fields with: driftmeter config schema"])


def _line(mistake: ErrorDetails, overlay: "_Overlay") -> str:
    """The mistake's place in the file, the variable if it is one's, and what is wrong."""
    place, variable = ".".join(map(str, mistake["loc"])) or "(whole file)", overlay.variable_of(mistake["loc"])
    words = _words(mistake["type"], mistake["msg"], mistake.get("input"))
    return f"{place} ({variable}): {words}" if variable else f"{place}: {words}"


def _words(kind: str, message: str, given: Any) -> str:
    if kind == "extra_forbidden":
        return "there is no such field; check its spelling and indentation"
    text = message.removeprefix("Value error, ")
    return text if kind == "value_error" else f"{text} (given: {given!r})"


class _Overlay:
    """The environment's part of the configuration.

    Attributes:
        mistakes: Variables that are none of the configuration or hold no YAML, in words.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values: dict[Place, tuple[str, Any]] = {}
        self.mistakes: list[str] = []
        places = dict(_variables(Config))
        for name in sorted(name for name in environment if name.startswith(ENVIRONMENT_PREFIX)):
            if name in places:
                try:
                    self._values[places[name]] = name, _parse(environment[name])
                except _NOT_YAML as error:
                    self.mistakes.append(f"{name}: the value is not YAML: {' '.join(str(error).split())}")
            elif name not in OTHER_VARIABLES and not _KUBERNETES.fullmatch(f"{name}={environment[name]}"):
                near = get_close_matches(name.upper(), [*places, *OTHER_VARIABLES], n=1, cutoff=0)
                self.mistakes.append(f"{name}: there is no such variable; the nearest is {near[0]}")

    def lay_over(self, tree: dict[str, Any]) -> None:
        """Put the values into the file's tree; parts come before what is in them."""
        for (*parents, leaf), (_, value) in sorted(self._values.items()):
            part: Any = tree
            for parent in parents:
                if part.get(parent) is None:
                    part[parent] = {}
                part = part[parent]
                if not isinstance(part, dict):  # A mistake, which is told as one.
                    break
            else:
                part[leaf] = value

    def variable_of(self, place: Place) -> str | None:
        """The variable that gave what is wrong here; None when none did."""
        above = (place[:length] for length in range(len(place), 0, -1))
        return next((self._values[each][0] for each in above if each in self._values), None)


def _variables(part: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, Place]]:
    """Each variable's name and the place that it gives."""
    for name, field in part.model_fields.items():
        place = (*above, name)
        yield ENVIRONMENT_PREFIX + "__".join(place).upper(), place
        if get_origin(field.annotation) is tuple:  # A list has no names for what is in it.
            continue
        for kind in get_args(field.annotation) or [field.annotation]:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _variables(kind, place)


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice: YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [key.value for key, _ in node.value]
        for position, (key, _) in enumerate(node.value):
            if key.value in keys[:position]:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


_NOT_YAML = (yaml.YAMLError, ValueError)  # The second one for what looks like a date and is none.


def _parse(text: str) -> Any:
    """Raises one of `_NOT_YAML`."""
    return yaml.load(text, _StrictLoader)  # noqa: S506 - derived from the safe one.


def _read_tree(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        tree = _parse(text)
    except _NOT_YAML as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must be a mapping with parts such as ingest, window and export")
    return tree
