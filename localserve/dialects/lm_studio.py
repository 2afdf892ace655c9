"""LM Studio's list of models, by which clients see which are loaded and with what context.

Pure; knows nothing of HTTP. Source: LM Studio's REST API v0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["llm", "embeddings"]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """What is known of a model; "" and None stand for what is not. `context_tokens` is what one
    request may use, where the model is loaded."""

    name: str
    kind: Kind
    architecture: str = ""
    quantization: str = ""
    context_tokens: int | None = None
    trained_context_tokens: int | None = None


def list_fields(models: Iterable[ListedModel]) -> dict[str, object]:
    """The answer of `GET /api/v0/models`."""
    return {"object": "list", "data": [model_fields(model) for model in models]}


def model_fields(model: ListedModel) -> dict[str, object]:
    """One model; what is not known of it is left out."""
    loaded = model.context_tokens is not None
    fields: dict[str, object | None] = {
        "id": model.name,
        "object": "model",
        "type": model.kind,
        "publisher": "localserve",
        "arch": model.architecture or None,
        "compatibility_type": "gguf",
        "quantization": model.quantization or None,
        "state": "loaded" if loaded else "not-loaded",
        "max_context_length": model.trained_context_tokens,
        "loaded_context_length": model.context_tokens,
    }
    return {name: value for name, value in fields.items() if value is not None}
