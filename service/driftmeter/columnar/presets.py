"""Names that servers and libraries give to what describes a prediction, as defaults of `AttributesConfig`."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Preset:
    """Other defaults for fields of `AttributesConfig`.

    Attributes:
        names: Fields and their values.
        aliases: Further attributes and what each is read as.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


PRESETS: Mapping[str, Preset] = {
    "default": Preset(),
    # Spans of `--trace-config mode=opentelemetry` say which model answered and not what it was asked: that stands in
    # ml.feature.* attributes, which a backend or client adds.
    # https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/trace.html
    "triton": Preset(
        names={"model_name": "model_name", "model_version": "model_version", "prediction_id": "request_id"},
        aliases={
            "triton.model_name": "model_name",
            "triton.model_version": "model_version",
            "triton.request_id": "prediction_id",
        },
    ),
    # https://github.com/Arize-ai/openinference/tree/main/spec
    "openinference": Preset(
        names={"model_name": "decision.model_name", "model_version": "decision.response.model_name"},
        aliases={
            "decision.request.model_name": "model_name",
            "llm.model_name": "model_name",
            "embedding.model_name": "model_name",
            "input.value": "json:feature",
            "output.value": "json:prediction",
            "llm.token_count.*": "feature.*",
            "openinference.span.kind": "segment.span_kind",
        },
    ),
    # MLflow writes every attribute as JSON, a model's name too.
    # https://mlflow.org/docs/latest/genai/tracing/
    "mlflow": Preset(
        aliases={
            "mlflow.llm.model": "json:model_name",
            "mlflow.modelId": "json:model_version",
            "mlflow.spanInputs": "json:feature",
            "mlflow.spanOutputs": "json:prediction",
            "mlflow.chat.tokenUsage": "json:feature",
            "mlflow.spanType": "json:segment",
        },
    ),
    # https://github.com/open-telemetry/semantic-conventions-genai
    "gen_ai": Preset(
        names={
            "model_name": "gen_ai.request.model",
            "model_version": "gen_ai.response.model",
            "prediction_id": "gen_ai.response.id",
        },
        aliases={
            "gen_ai.usage.*": "feature.*",
            "gen_ai.request.temperature": "feature.temperature",
            "gen_ai.request.top_p": "feature.top_p",
            "gen_ai.request.max_tokens": "feature.max_tokens",
            "gen_ai.response.finish_reasons": "prediction.finish_reasons",
            "gen_ai.operation.name": "segment.operation",
            "gen_ai.provider.name": "segment.provider",
        },
    ),
}
"""Presets by name."""
