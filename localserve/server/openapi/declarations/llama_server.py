"""llama-server's routes as they are described. Pure."""

from __future__ import annotations

from pydantic import BaseModel, Field

from localserve.dialects.llama_server.completion import CompletionBody
from localserve.dialects.llama_server.embeddings import EmbeddingBody
from localserve.dialects.llama_server.infill import InfillBody
from localserve.dialects.llama_server.tokens import DetokenizeBody, TokenizeBody
from localserve.dialects.openai.chat import ChatBody
from localserve.errors import InvalidRequest, NoFillMiddle, NotSupported, Unavailable
from localserve.server.openapi import bodies
from localserve.server.openapi.declarations.examples import HELLO
from localserve.server.openapi.declarations.openai import OPENAI
from localserve.server.openapi.declared import ANSWERS, AT_ONCE, EVENTS, LEASE, Declared, Dialect

NATIVE = Dialect(
    "llama-server",
    "llama-server's API.",
    bodies.NativeProblem,
    {422: 400},
    {NoFillMiddle: 501, NotSupported: 501},
)


class ModelQuery(BaseModel):
    model: str | None = Field(None, description="Which model; else the default one.")


class SlotsQuery(ModelQuery):
    fail_on_no_slot: str | None = Field(None, description="1: an error where all are taken.")


ROUTES: tuple[Declared, ...] = (
    *(
        Declared(
            "POST",
            path,
            NATIVE,
            "Continue a text, in llama-server's form",
            bodies.NativeAnswers,
            CompletionBody,
            {"prompt": "The capital of France is", "n_predict": 16},
            ANSWERS,
            stream=EVENTS,
        )
        for path in ("/completion", "/completions")
    ),
    Declared(
        "POST",
        "/infill",
        NATIVE,
        "Fill the middle of a text",
        bodies.NativeAnswers,
        InfillBody,
        {"input_prefix": "def add(a, b):\n    ", "input_suffix": "\n", "n_predict": 16},
        (*ANSWERS, NoFillMiddle),
        stream=EVENTS,
    ),
    *(
        Declared(
            "POST",
            path,
            NATIVE,
            "Make vectors of texts, in llama-server's form",
            bodies.NativeVectors,
            EmbeddingBody,
            {"content": "A text that is made a vector."},
            AT_ONCE,
        )
        for path in ("/embedding", "/embeddings")
    ),
    Declared(
        "POST",
        "/tokenize",
        NATIVE,
        "Token ids of a text",
        bodies.TokenIds,
        TokenizeBody,
        {"content": "Hello"},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/detokenize",
        NATIVE,
        "The text of token ids",
        bodies.DetokenizedText,
        DetokenizeBody,
        {"tokens": [72, 105]},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/apply-template",
        NATIVE,
        "The prompt that a conversation becomes",
        bodies.Prompt,
        ChatBody,
        {"messages": HELLO},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/v1/chat/completions/input_tokens",
        OPENAI,
        "Count the tokens of a conversation",
        bodies.TokenTotal,
        ChatBody,
        {"messages": HELLO},
        AT_ONCE,
    ),
    Declared(
        "GET",
        "/props",
        NATIVE,
        "What a loaded model is",
        bodies.Properties,
        errors=(InvalidRequest, *LEASE),
        query=ModelQuery,
    ),
    Declared(
        "POST", "/props", NATIVE, "Refused: nothing changes while it runs", errors=(NotSupported,)
    ),
    Declared(
        "GET",
        "/slots",
        NATIVE,
        "Which answers a loaded model computes",
        bodies.Slots,
        errors=(InvalidRequest, Unavailable, *LEASE),
        query=SlotsQuery,
    ),
    Declared(
        "POST", "/slots/{slot}", NATIVE, "Refused: nothing is saved by hand", errors=(NotSupported,)
    ),
)
