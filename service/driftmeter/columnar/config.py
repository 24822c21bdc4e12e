"""Which span attributes say what."""

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

_NAMES = ("model_name", "model_version", "model_stage", "prediction_id")
_PREFIXES = ("feature_prefix", "prediction_prefix", "probability_prefix", "label_prefix", "segment_prefix")


class AttributesConfig(BaseModel):
    """Names of the span attributes that describe a prediction. Exact names win over prefixes; no two may be equal."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

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
    max_columns: int = Field(default=2_000, ge=1)
    """Most columns kept per model and version; values of further ones are dropped and counted. At least 1."""

    @field_validator(*_NAMES, *_PREFIXES)
    @classmethod
    def _unlike_the_others(cls, text: str, info: ValidationInfo) -> str:
        alike = _NAMES if info.field_name in _NAMES else _PREFIXES
        same = [name for name in alike if text and info.data.get(name) == text]
        if same:
            raise ValueError(f"{text!r} is the {same[0]} already: each needs one of its own")
        return text
