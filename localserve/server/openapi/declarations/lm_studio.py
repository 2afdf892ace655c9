"""LM Studio's routes as they are described. Pure."""

from __future__ import annotations

from localserve.dialects.openai.chat import ChatBody
from localserve.dialects.openai.completions import CompletionBody
from localserve.dialects.openai.embeddings import EmbeddingBody
from localserve.errors import NoFillMiddle, UnknownModel
from localserve.server.openapi import bodies
from localserve.server.openapi.declarations.examples import CHAT, TEXT, VECTOR
from localserve.server.openapi.declared import ANSWERS, AT_ONCE, EVENTS, Declared, Dialect

LM_STUDIO = Dialect("LM Studio", "LM Studio's API.", bodies.Problem)

ROUTES: tuple[Declared, ...] = (
    Declared("GET", "/api/v0/models", LM_STUDIO, "What can be asked for", bodies.LmStudioModels),
    Declared(
        "GET",
        "/api/v0/models/{name:path}",
        LM_STUDIO,
        "One model",
        bodies.LmStudioModel,
        errors=(UnknownModel,),
    ),
    Declared(
        "POST",
        "/api/v0/chat/completions",
        LM_STUDIO,
        "Answer a conversation",
        bodies.ChatCompletion,
        ChatBody,
        CHAT,
        ANSWERS,
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/api/v0/completions",
        LM_STUDIO,
        "Continue a text",
        bodies.TextCompletion,
        CompletionBody,
        TEXT,
        (*ANSWERS, NoFillMiddle),
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/api/v0/embeddings",
        LM_STUDIO,
        "Make vectors of texts",
        bodies.EmbeddingList,
        EmbeddingBody,
        VECTOR,
        AT_ONCE,
    ),
)
