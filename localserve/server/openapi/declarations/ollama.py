"""Ollama's routes as they are described. Pure."""

from __future__ import annotations

from localserve.dialects.ollama.chat import ChatBody
from localserve.dialects.ollama.embed import EmbedBody, EmbeddingBody
from localserve.dialects.ollama.generate import GenerateBody
from localserve.dialects.ollama.library import PullBody
from localserve.dialects.ollama.models import ShowBody
from localserve.errors import (
    ModelInUse,
    ModelUnusable,
    NoFillMiddle,
    NotDownloaded,
    UnknownModel,
)
from localserve.server.errors import RouteUnknown
from localserve.server.openapi import bodies
from localserve.server.openapi.declarations.examples import HELLO, VECTOR
from localserve.server.openapi.declared import ANSWERS, AT_ONCE, BODY, LINES, Declared, Dialect

OLLAMA = Dialect("Ollama", "Ollama's API.", bodies.OllamaProblem, {422: 400}, {NotDownloaded: 404})

ROUTES: tuple[Declared, ...] = (
    Declared(
        "POST",
        "/api/chat",
        OLLAMA,
        "Answer a conversation; streamed unless `stream` is false",
        bodies.OllamaAnswer,
        ChatBody,
        {"model": "", "messages": HELLO, "stream": False},
        ANSWERS,
        stream=LINES,
    ),
    Declared(
        "POST",
        "/api/generate",
        OLLAMA,
        "Continue a text; streamed unless `stream` is false",
        bodies.OllamaAnswer,
        GenerateBody,
        {"model": "", "prompt": "The capital of France is", "stream": False},
        (*ANSWERS, NoFillMiddle),
        stream=LINES,
    ),
    Declared(
        "POST",
        "/api/embed",
        OLLAMA,
        "Make vectors of texts",
        bodies.OllamaVectors,
        EmbedBody,
        {"model": "", **VECTOR},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/api/embeddings",
        OLLAMA,
        "Make a vector of a text",
        bodies.OllamaVector,
        EmbeddingBody,
        {"model": "", "prompt": "A text that is made a vector."},
        AT_ONCE,
    ),
    Declared("GET", "/api/tags", OLLAMA, "What can be asked for", bodies.OllamaModels),
    Declared("GET", "/api/ps", OLLAMA, "Loaded models", bodies.OllamaModels),
    Declared("GET", "/api/version", OLLAMA, "The version of the API", bodies.Version),
    Declared(
        "POST",
        "/api/show",
        OLLAMA,
        "One model",
        bodies.OllamaModel,
        ShowBody,
        {"model": "fake"},
        (*BODY, UnknownModel, ModelUnusable),
    ),
    Declared(
        "POST",
        "/api/pull",
        OLLAMA,
        "Download a model; streamed unless `stream` is false",
        bodies.Status,
        PullBody,
        {"model": "qwen3-8b"},
        (*BODY, UnknownModel, ModelUnusable, RouteUnknown),
        stream=LINES,
    ),
    Declared(
        "DELETE",
        "/api/delete",
        OLLAMA,
        "Delete a downloaded model",
        body=ShowBody,
        example={"model": "qwen3-8b"},
        errors=(*BODY, UnknownModel, ModelInUse, ModelUnusable, RouteUnknown),
    ),
)
