"""OpenAI's routes, and reranking, as they are described. Pure."""

from __future__ import annotations

from pydantic import BaseModel, Field

from localserve.dialects.openai.chat import ChatBody
from localserve.dialects.openai.completions import CompletionBody
from localserve.dialects.openai.embeddings import EmbeddingBody
from localserve.dialects.openai.rerank import RerankBody
from localserve.dialects.openai.responses.request import ResponseBody
from localserve.errors import NoFillMiddle, UnknownModel
from localserve.server.errors import PreviousResponseUnknown, ResponseUnknown
from localserve.server.openapi import bodies
from localserve.server.openapi.declarations.examples import CHAT, TEXT, VECTOR
from localserve.server.openapi.declared import ANSWERS, AT_ONCE, EVENTS, Declared, Dialect

OPENAI = Dialect("OpenAI", "OpenAI's API.", bodies.Problem)


class ModelsQuery(BaseModel):
    client_version: str | None = Field(
        None, description="Codex sends its own, and gets an empty catalog."
    )


ROUTES: tuple[Declared, ...] = (
    Declared(
        "POST",
        "/v1/chat/completions",
        OPENAI,
        "Answer a conversation",
        bodies.ChatCompletion,
        ChatBody,
        CHAT,
        ANSWERS,
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/v1/completions",
        OPENAI,
        "Continue a text",
        bodies.TextCompletion,
        CompletionBody,
        TEXT,
        (*ANSWERS, NoFillMiddle),
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/v1/embeddings",
        OPENAI,
        "Make vectors of texts",
        bodies.EmbeddingList,
        EmbeddingBody,
        VECTOR,
        AT_ONCE,
    ),
    *(
        Declared(
            "POST",
            path,
            OPENAI,
            "Rank documents by a query",
            bodies.Ranking,
            RerankBody,
            {"query": "capital of France", "documents": ["Paris is it.", "Bread is baked."]},
            AT_ONCE,
        )
        for path in ("/v1/rerank", "/v1/reranking")
    ),
    Declared(
        "POST",
        "/v1/responses",
        OPENAI,
        "Answer items, and remember the response",
        bodies.ResponseObject,
        ResponseBody,
        {"input": "What is the capital of France?", "max_output_tokens": 16},
        (*ANSWERS, PreviousResponseUnknown),
        stream=EVENTS,
    ),
    Declared(
        "GET",
        "/v1/responses/{id}",
        OPENAI,
        "A remembered response",
        bodies.ResponseObject,
        errors=(ResponseUnknown,),
    ),
    Declared(
        "DELETE",
        "/v1/responses/{id}",
        OPENAI,
        "Forget a response",
        bodies.DeletedResponse,
        errors=(ResponseUnknown,),
    ),
    Declared(
        "GET",
        "/v1/models",
        OPENAI,
        "What can be asked for",
        bodies.ModelList,
        query=ModelsQuery,
    ),
    Declared(
        "GET",
        "/v1/models/{name:path}",
        OPENAI,
        "One model",
        bodies.ModelEntry,
        errors=(UnknownModel,),
    ),
)
