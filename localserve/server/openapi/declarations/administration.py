"""The routes for whoever runs the server, as they are described. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from localserve.errors import (
    CacheFailed,
    ConfigInvalid,
    InvalidSchema,
    KeyExists,
    ModelInUse,
    ModelUnusable,
    StoreFailed,
    UnknownKey,
    UnknownModel,
)
from localserve.gateway.paths import EVENTS_PATH
from localserve.server.admin import EmptyBody, LoadBody, UnloadBody
from localserve.server.cache_admin import PurgeBody
from localserve.server.errors import RequestNotRunning, RouteUnknown
from localserve.server.keys import CreateBody, RotateBody
from localserve.server.openapi import bodies
from localserve.server.openapi.declared import BODY, EVENTS, LEASE, Declared, Dialect
from localserve.server.routes import Asked

ADMIN = Dialect("Administration", "Models and keys, for those who may.", bodies.Problem)

CHANGES: tuple[tuple[str, str, type[BaseModel], Mapping[str, object]], ...] = (
    ("load", "Load a model; answers when it is loaded", LoadBody, {"context_tokens": 4096}),
    ("unload", "Free a model's memory", UnloadBody, {"force": False}),
    ("default", "Load a model, for requests that name none", EmptyBody, {}),
    ("pin", "Never unload a model to make room", EmptyBody, {}),
    ("unpin", "Undo pin", EmptyBody, {}),
)


class ActivityQuery(BaseModel):
    after: int = Field(0, ge=0, description="Only requests that ended after this number.")


ROUTES: tuple[Declared, ...] = (
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
    Declared(
        "GET",
        "/admin/activity",
        ADMIN,
        "Requests that run, and that ended of late",
        bodies.ActivityReport,
        query=ActivityQuery,
    ),
    Declared(
        "GET",
        EVENTS_PATH,
        ADMIN,
        "What /admin/activity tells, at once and whenever it changes",
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/admin/requests/{name:path}/cancel",
        ADMIN,
        "End a running request",
        bodies.Cancelled,
        EmptyBody,
        {},
        (*BODY, RequestNotRunning),
    ),
    Declared(
        "GET",
        "/admin/routes/explain",
        ADMIN,
        "What a route would do with a request, without asking a model",
        bodies.RouteExplained,
        errors=(InvalidSchema, UnknownModel),
        query=Asked,
    ),
    Declared(
        "GET",
        "/admin/cache",
        ADMIN,
        "What the response cache holds and did",
        bodies.CacheReport,
    ),
    Declared(
        "POST",
        "/admin/cache/purge",
        ADMIN,
        "Forget kept answers",
        bodies.Purged,
        PurgeBody,
        {},
        (*BODY, CacheFailed),
    ),
    Declared(
        "GET",
        "/admin/settings",
        ADMIN,
        "What applies, and who said so",
        bodies.SettingsReport,
    ),
    Declared(
        "GET",
        "/admin/catalog",
        ADMIN,
        "What models.toml offers to be fetched",
        bodies.Catalog,
        errors=(ConfigInvalid,),
    ),
    Declared(
        "GET",
        "/admin/fit",
        ADMIN,
        "Which models of the disk and the catalog would fit",
        bodies.Judgements,
        errors=(ConfigInvalid, RouteUnknown),
    ),
    Declared(
        "GET",
        "/admin/fit/{name:path}",
        ADMIN,
        "Whether a model would fit, how, and why",
        bodies.Fitted,
        errors=(ConfigInvalid, ModelUnusable, RouteUnknown, UnknownModel),
    ),
    Declared(
        "POST",
        "/admin/pulls/{name:path}/discard",
        ADMIN,
        "Delete what came of a pull that was ended",
        bodies.Discarded,
        EmptyBody,
        {},
        (*BODY, ModelUnusable, UnknownModel),
    ),
    Declared(
        "GET",
        "/admin/connect",
        ADMIN,
        "What each client must be told to use this server",
        bodies.Connections,
    ),
)
