"""One YAML file and the environment to the service's configuration."""

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from driftmeter.baseline.config import BaselineConfig
from driftmeter.columnar.config import AttributesConfig
from driftmeter.detect.config import DetectConfig
from driftmeter.errors import ConfigError
from driftmeter.export.config import ExportConfig
from driftmeter.ingest.config import IngestConfig
from driftmeter.window.config import WindowConfig

ENVIRONMENT_PREFIX = "DRIFTMETER_"
_NOT_CONFIG = {"DRIFTMETER_CACHE_DIR", "DRIFTMETER_REQUIRE", "DRIFTMETER_CACHE", "DRIFTMETER_ENDPOINT"}


class Config(BaseModel):
    """Configuration of `driftmeter serve`. Every part may be left out.

    Every value can be given in the environment instead, which wins over the file: DRIFTMETER_ and the path in capitals,
    two underscores between its parts, the value as YAML: DRIFTMETER_EXPORT__INTERVAL=10s,
    DRIFTMETER_WINDOW__LENGTHS='[5m, 1h]'.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ingest: IngestConfig = IngestConfig()
    """Where OTLP requests are taken."""
    attributes: AttributesConfig = AttributesConfig()
    """Which span attributes say what."""
    window: WindowConfig = WindowConfig()
    """How rows are cut into windows."""
    baseline: BaselineConfig = BaselineConfig()
    """What windows are compared with."""
    detect: DetectConfig = DetectConfig()
    """When a column is called drifted."""
    export: ExportConfig = ExportConfig()
    """Where results are sent."""


def load_config(path: Path | None, environment: Mapping[str, str] = os.environ) -> Config:
    """Read the file, lay the environment over it and check everything.

    Raises:
        ConfigError: With all mistakes, each with its place and what to do.
    """
    source = str(path) if path else "the environment"
    tree = _read_tree(path) if path else {}
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name and name not in _NOT_CONFIG:
            _lay_over(tree, name, environment[name])
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(describe_mistakes(error, source)) from error


def describe_mistakes(error: ValidationError, source: str) -> str:
    """All mistakes, one a line, each with its place in the file."""
    mistakes = error.errors(include_url=False)
    lines = [f"{source}: {len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''}"]
    for mistake in mistakes:
        place = ".".join(map(str, mistake["loc"])) or "(whole file)"
        lines.append(f"  {place}: {_words(mistake['type'], mistake['msg'], mistake.get('input'))}")
    lines.append("See all fields with: driftmeter config schema")
    return "\n".join(lines)


def _words(kind: str, message: str, given: Any) -> str:
    if kind == "extra_forbidden":
        return "there is no such field; check its spelling and indentation"
    text = message.removeprefix("Value error, ")
    return text if kind == "value_error" else f"{text} (given: {given!r})"


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice: YAML would silently take the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        keys = [key.value for key, _ in node.value]
        for position, (key, _) in enumerate(node.value):
            if key.value in keys[:position]:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _read_tree(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506 - derived from the safe one.
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must be a mapping with parts such as ingest, window and export")
    return tree


def _lay_over(tree: dict[str, Any], name: str, text: str) -> None:
    *parents, leaf = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    for parent in parents:
        below = tree.get(parent)
        if not isinstance(below, dict):
            below = tree[parent] = {}
        tree = below
    try:
        tree[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: the value is not YAML: {error}") from error
