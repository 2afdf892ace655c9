"""`GET /v1/models`: what clients may know of a model. Pure; knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OWNER = "localserve"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What is known once a model is loaded. `context_tokens` is what one request may use now."""

    context_tokens: int
    trained_context_tokens: int
    vocabulary_size: int
    embedding_length: int
    parameters: int
    weights_bytes: int


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that can be asked for; `loaded` is None while it is not loaded. `capabilities` are
    empty where it is not known yet what it can do."""

    name: str
    aliases: tuple[str, ...]
    created: int
    loaded: LoadedModel | None = None
    capabilities: tuple[str, ...] = ()


def list_fields(models: Sequence[ListedModel]) -> dict[str, object]:
    """The list of models."""
    return {"object": "list", "data": [model_fields(model) for model in models]}


def catalog_fields() -> dict[str, object]:
    """What a client that sends `client_version` reads: an empty catalog makes it use its own."""
    return {"models": []}


def model_fields(model: ListedModel) -> dict[str, object]:
    """One entry.

    There is no `status`: clients would take the server for a router of several models.
    """
    fields: dict[str, object] = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": OWNER,
        "aliases": list(model.aliases),
    }
    if model.capabilities:
        fields["capabilities"] = list(model.capabilities)
    if (loaded := model.loaded) is not None:
        fields["max_model_len"] = loaded.context_tokens
        fields["meta"] = {
            "n_ctx": loaded.context_tokens,
            "n_ctx_train": loaded.trained_context_tokens,
            "n_vocab": loaded.vocabulary_size,
            "n_embd": loaded.embedding_length,
            "n_params": loaded.parameters,
            "size": loaded.weights_bytes,
        }
    return fields
