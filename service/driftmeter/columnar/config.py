"""Which span attributes say what."""

from pydantic import BaseModel, ConfigDict


class AttributesConfig(BaseModel):
    """Names of the span attributes that describe a prediction. Exact names win over prefixes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model_name: str = "ml.model.name"
    """Attribute holding the model's name. A span without it is not feature-bearing and is ignored."""
    model_version: str = "ml.model.version"
    """Attribute holding the model's version; absent counts as an empty version."""
    model_stage: str = "ml.model.stage"
    """Attribute holding the stage, such as canary or production; optional."""
    prediction_id: str = "ml.prediction.id"
    """Attribute holding the key by which a later label finds this prediction; optional."""
    feature_prefix: str = "ml.feature."
    """Prefix of one input of the model: ml.feature.age."""
    prediction_prefix: str = "ml.prediction."
    """Prefix of one output of the model: ml.prediction.price."""
    probability_prefix: str = "ml.probability."
    """Prefix of the predicted probability of one class: ml.probability.late."""
    label_prefix: str = "ml.label."
    """Prefix of the true value of one output, when it is known already."""
    segment_prefix: str = "ml.segment."
    """Prefix of a group for slicing: ml.segment.region."""
    max_columns: int = 2_000
    """Most columns kept per model and version; values of further ones are dropped and counted. At least 1."""
