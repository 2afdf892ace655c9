"""All other routes, as they are described: models, administration, health. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from localserve.dialects.ollama.library import PullBody
from localserve.dialects.ollama.models import ShowBody
from localserve.errors import (
    ConfigInvalid,
    InvalidRequest,
    KeyExists,
    ModelInUse,
    ModelUnusable,
    NotSupported,
    StoreFailed,
    Unavailable,
    UnknownKey,
    UnknownModel,
)
from localserve.server.admin import EmptyBody, LoadBody, UnloadBody
from localserve.server.errors import RouteUnknown
from localserve.server.keys import CreateBody, RotateBody
from localserve.server.openapi import bodies
from localserve.server.openapi.conversation_routes import LM_STUDIO, NATIVE, OLLAMA, OPENAI
from localserve.server.openapi.declared import BODY, LEASE, LINES, TEXT, Declared, Dialect

ADMIN = Dialect("Administration", "Models and keys, for those who may.", bodies.Problem)
WATCHING = Dialect("Watching", "Whether it is well, and what it does.", bodies.Problem)

_MODEL = {"model": "Which model; else the default one."}

CHANGES: tuple[tuple[str, str, type[BaseModel], Mapping[str, object]], ...] = (
    ("load", "Load a model; answers when it is loaded", LoadBody, {"context_tokens": 4096}),
    ("unload", "Free a model's memory", UnloadBody, {"force": False}),
    ("default", "Load a model, for requests that name none", EmptyBody, {}),
    ("pin", "Never unload a model to make room", EmptyBody, {}),
    ("unpin", "Undo pin", EmptyBody, {}),
)

OTHERS: tuple[Declared, ...] = (
    Declared("GET", "/v1/models", OPENAI, "What can be asked for", bodies.ModelList),
    Declared(
        "GET",
        "/v1/models/{name:path}",
        OPENAI,
        "One model",
        bodies.ModelEntry,
        errors=(UnknownModel,),
    ),
    Declared(
        "GET",
        "/props",
        NATIVE,
        "What a loaded model is",
        bodies.Properties,
        errors=(InvalidRequest, *LEASE),
        query=_MODEL,
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
        query={**_MODEL, "fail_on_no_slot": "1: an error where all are taken."},
    ),
    Declared(
        "POST", "/slots/{slot}", NATIVE, "Refused: nothing is saved by hand", errors=(NotSupported,)
    ),
    Declared("GET", "/api/v0/models", LM_STUDIO, "What can be asked for", bodies.LmStudioModels),
    Declared(
        "GET",
        "/api/v0/models/{name:path}",
        LM_STUDIO,
        "One model",
        bodies.LmStudioModel,
        errors=(UnknownModel,),
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
    Declared("GET", "/admin/models", ADMIN, "Models that were asked for", bodies.HeldModels),
    *(
        Declared(
            "POST",
            f"/admin/models/{{name:path}}/{change}",
            ADMIN,
            summary,
            bodies.HeldModel,
            body,
            example,
            (*BODY, *LEASE, ModelInUse),
        )
        for change, summary, body, example in CHANGES
    ),
    Declared(
        "POST",
        "/admin/reload",
        ADMIN,
        "Read models.toml again",
        bodies.Status,
        errors=(ConfigInvalid, RouteUnknown),
    ),
    Declared("GET", "/admin/keys", ADMIN, "All API keys", bodies.ApiKeys, errors=(StoreFailed,)),
    Declared(
        "POST",
        "/admin/keys",
        ADMIN,
        "Make an API key",
        bodies.IssuedApiKey,
        CreateBody,
        {"name": "ci", "expires": "30d"},
        (*BODY, KeyExists, StoreFailed),
    ),
    Declared(
        "POST",
        "/admin/keys/{name}/rotate",
        ADMIN,
        "Give a key a new secret",
        bodies.IssuedApiKey,
        RotateBody,
        {"grace": "24h"},
        (*BODY, UnknownKey, StoreFailed),
    ),
    Declared(
        "POST",
        "/admin/keys/{name}/revoke",
        ADMIN,
        "End a key",
        bodies.ApiKey,
        EmptyBody,
        {},
        (*BODY, UnknownKey, StoreFailed),
    ),
    *(
        Declared(
            "GET",
            path,
            WATCHING,
            "Whether the default model answers",
            bodies.Status,
            errors=(Unavailable,),
        )
        for path in ("/health", "/health/ready")
    ),
    Declared("GET", "/health/live", WATCHING, "Whether the process answers", bodies.Status),
    Declared(
        "GET",
        "/health/details",
        WATCHING,
        "Every check with its latency; 503 if one fails",
        bodies.HealthDetails,
    ),
    Declared("GET", "/metrics", WATCHING, "Figures for Prometheus", media=TEXT),
    Declared(
        "GET",
        "/errors/{code}",
        WATCHING,
        "What an error means",
        bodies.ErrorDescription,
        errors=(RouteUnknown,),
    ),
    Declared("GET", "/", WATCHING, "A greeting", media=TEXT),
)
