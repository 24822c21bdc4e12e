"""Which span attributes say what."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from driftmeter.columnar.presets import PRESETS
from driftmeter.model.columns import Role

_SPECIALS = ("model_name", "model_version", "model_stage", "prediction_id")
_PREFIXES = ("feature_prefix", "prediction_prefix", "probability_prefix", "label_prefix", "segment_prefix")
_ROLES = tuple(role.value for role in Role)


class AttributesConfig(BaseModel):
    """Names of the attributes of spans and log records that describe a prediction.

    Exact names win over prefixes. No two names may be equal, and no two prefixes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    preset: Literal["default", "triton", "openinference", "mlflow", "gen_ai"] = "default"
    """Names that a server or library uses by itself. Gives the fields below other defaults; see docs/attributes.md."""
    model_name: str = Field(default="ml.model.name", min_length=1)
    """Attribute holding the model's name. A span without it is not feature-bearing and is ignored."""
    model_version: str = "ml.model.version"
    """Attribute holding the model's version; absent counts as an empty version. An empty name reads none."""
    model_stage: str = "ml.model.stage"
    """Attribute holding the stage, such as canary or production; optional. An empty name reads none."""
    prediction_id: str = "ml.prediction.id"
    """Attribute holding the key by which a later label finds this prediction; optional. An empty name reads
    none."""
    feature_prefix: str = Field(default="ml.feature.", min_length=1)
    """Prefix of one input of the model: ml.feature.age."""
    prediction_prefix: str = Field(default="ml.prediction.", min_length=1)
    """Prefix of one output of the model: ml.prediction.price."""
    probability_prefix: str = Field(default="ml.probability.", min_length=1)
    """Prefix of the predicted probability of one class: ml.probability.late."""
    label_prefix: str = Field(default="ml.label.", min_length=1)
    """Prefix of the true value of one output, when it is known already."""
    segment_prefix: str = Field(default="ml.segment.", min_length=1)
    """Prefix of a group for slicing: ml.segment.region."""
    aliases: dict[str, str] = {}
    """Further attributes and what each is read as: one of the first four names (`triton.model_name: model_name`), a
    column (`llm.temperature: feature.temperature`), a column for each attribute with a prefix (`gen_ai.usage.*:
    feature.*`), or JSON in a text whose members are columns of a role (`input.value: json:feature`). Added to those of
    the preset."""
    texts: tuple[str, ...] = ()
    """Columns of texts rather than categories, by name, wildcards allowed: comment, prompt.*. Each becomes three
    columns of numbers, NAME.length (characters), NAME.words and NAME.oov_ratio (share of words unknown to the
    baseline). For models that learn their baseline; those with a file have it there (`baseline build --text`). Texts
    longer than `max_text_bytes` are dropped, so give it room."""
    embeddings: tuple[str, ...] = ()
    """Columns of embeddings, by name, wildcards allowed: an array of numbers that is one value, and not one row per
    element. At most 4,096 numbers; all arrays of one span must have one length. Each becomes columns of numbers:
    NAME.norm, NAME.cosine, NAME.distance and NAME.component_1 to 4, as seen from the baseline's vectors. Models with a
    baseline file need it here too, as well as in the file (`baseline build --embedding`)."""
    max_columns: int = Field(default=2_000, ge=1)
    """Most columns kept per model and version; values of further ones are dropped and counted. At least 1."""
    max_models: int = Field(default=1_000, ge=1)
    """Most models, versions and stages without a baseline that are taken since the start, and as many with one; spans
    of further ones are rejected as `too_many_models`. At least 1."""
    max_attributes: int = Field(default=20_000, ge=1)
    """Most attributes of one span or log record, members of JSON texts included; one with more is rejected as
    `too_many_attributes`. At least 1."""
    max_text_bytes: int = Field(default=256, ge=1)
    """Longest text taken as a category, in bytes of UTF-8; longer ones are dropped as `string_too_long`, and a span
    whose model, version or stage is longer is rejected for the same reason. At least 1."""

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, given: Any) -> Any:
        """What the preset says, and over it what is given."""
        preset = PRESETS.get(str(given.get("preset"))) if isinstance(given, dict) else None
        if preset is None:
            return given
        aliases = given.get("aliases", {})
        if isinstance(aliases, dict):
            given = {**given, "aliases": {**preset.aliases, **aliases}}
        return {**preset.names, **given}

    @field_validator(*_SPECIALS, *_PREFIXES)
    @classmethod
    def _unlike_the_others(cls, text: str, info: ValidationInfo) -> str:
        alike = _SPECIALS if info.field_name in _SPECIALS else _PREFIXES
        same = [name for name in alike if text and info.data.get(name) == text]
        if same:
            raise ValueError(f"{text!r} is the {same[0]} already: each needs one of its own")
        return text

    @field_validator("aliases")
    @classmethod
    def _check_aliases(cls, aliases: dict[str, str]) -> dict[str, str]:
        for key, target in aliases.items():
            role, dot, name = target.partition(".")
            whole = target in _SPECIALS or target.removeprefix("json:") in (*_SPECIALS, *_ROLES)
            whole = whole and target not in _ROLES
            column = role in _ROLES and bool(dot and name) and (name == "*") == key.endswith("*")
            if not key or not (column or (whole and not key.endswith("*"))):
                raise ValueError(
                    f"{key!r} cannot be read as {target!r}: give one of {', '.join(_SPECIALS)}, a column such as "
                    "feature.age, feature.* where the attribute ends in *, or JSON such as json:feature"
                )
        return aliases
