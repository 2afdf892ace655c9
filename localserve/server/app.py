"""The application: routes, middleware and the life of the manager, all in one place.

Every route is served with and without `/v1`; `/completions` and `/embeddings` without it are those
of llama-server. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from localserve.catalog.routes import RouteTable
from localserve.config import Settings
from localserve.errors import LocalserveError
from localserve.gateway.authenticated import Authenticated
from localserve.gateway.bucket import Buckets
from localserve.gateway.cross_origin import CrossOrigin
from localserve.gateway.exposure import is_loopback
from localserve.gateway.hosts import HostChecked
from localserve.gateway.keyring import FixedKeys, Keyring
from localserve.gateway.limits import rate_limits
from localserve.gateway.metered import Metered
from localserve.gateway.origins import parse_origins, split_list
from localserve.gateway.paths import is_admin_path, route_path
from localserve.gateway.redis_buckets import buckets_for
from localserve.gateway.store import key_store
from localserve.manager import ModelManager
from localserve.manager.library import Library
from localserve.server import llama_server
from localserve.server.admin import Admin
from localserve.server.callers import add_headers, note_caller
from localserve.server.chat import AnswerEndpoint, Exchange, chat_exchange, completion_exchange
from localserve.server.errors import (
    Failures,
    RouteUnknown,
    answer_error,
    answer_http_error,
    describe_error,
)
from localserve.server.health import Health
from localserve.server.keys import Keys
from localserve.server.lag import LagWatched, LoopLag
from localserve.server.lm_studio import LmStudioModels
from localserve.server.messages import COUNT, MESSAGE
from localserve.server.metrics import Metrics
from localserve.server.models import Models
from localserve.server.observing import sampler_for, tracing_for
from localserve.server.ollama import GREETING, means_ollama, ollama_routes
from localserve.server.openapi import documentation_routes
from localserve.server.paths import NormalPaths, normal_path
from localserve.server.records import OnRequest, Recorded, RequestRecord, RouteNoted
from localserve.server.remote_checks import remote_checks
from localserve.server.request_lines import log_request
from localserve.server.response_store import ResponseStore
from localserve.server.responses import ResponseEndpoint, Responses
from localserve.server.router import Router
from localserve.server.routes import RouteExplanation
from localserve.server.tracing import Traced
from localserve.server.vectors import EMBEDDING, RERANK, AtOnceEndpoint
from localserve.server.vitals import own_checks
from localserve.telemetry.spans import Tracing

HEADERS_AFTER_SECONDS = 15.0
"""A stream that waits for its model or for its turn sends its headers after this time."""

NO_ROUTES = RouteTable()

Reload = Callable[[], Awaitable[None]]
"""Reads the configuration again. Raises: ConfigInvalid."""


def create_app(
    manager: ModelManager,
    settings: Settings,
    *,
    reload: Reload | None = None,
    library: Library | None = None,
    owner_key: str | None = None,
    on_request: OnRequest = log_request,
    headers_after_seconds: float = HEADERS_AFTER_SECONDS,
    tracing: Tracing | None = None,
    routes: RouteTable = NO_ROUTES,
) -> Starlette:
    """The ASGI application that answers for the models of `manager`.

    Its lifespan starts `manager` and closes it. `reload` is what `POST /admin/reload` calls,
    `library` what fetches models and deletes them.
    `owner_key` is a key with all rights that is in no file.
    `on_request` is called once for every request, after its end; by default it logs one line.
    `tracing` makes spans (None: one of its own, where the settings want them). Checks of
    `/health/details` can be added to `app.state.health_checks`. `routes` are names that stand for
    one of several models; `app.state.router` takes over others.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        manager.start()
        try:
            yield
        finally:
            await manager.close()
            await checks.close()
            await buckets.close()
            if own_tracing is not None:
                await asyncio.to_thread(own_tracing.close)

    store = key_store(settings)
    keyring = Keyring(
        store,
        FixedKeys(environment=settings.api_key, owner=owner_key),
        open_without_keys=is_loopback(settings.host),
    )
    buckets = buckets_for(settings)
    keys = Keys(store, on_change=keyring.look_again)
    lag = LoopLag()
    checks = own_checks(manager, settings, store, buckets)
    checks.add_source(lambda: remote_checks(manager))
    metrics = Metrics(manager, _version())
    own_tracing = tracing_for(settings, _version()) if tracing is None else None
    traced = tracing or own_tracing
    app = Starlette(
        routes=_routes(
            manager,
            settings,
            keys,
            reload,
            library,
            headers_after_seconds,
            Health(manager, checks, lag),
            metrics,
        ),
        middleware=[
            _recorded(settings, metrics, on_request),
            Middleware(LagWatched, lag=lag),
            *([Middleware(Traced, tracing=traced)] if traced is not None else []),
            Middleware(Failures),
            Middleware(NormalPaths),
            *_gateway(settings, keyring, buckets),
            Middleware(RouteNoted),
        ],
        exception_handlers={LocalserveError: answer_error, HTTPException: answer_http_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.health_checks = checks
    app.state.router = Router(manager, routes)
    return app


def _recorded(settings: Settings, metrics: Metrics, on_request: OnRequest) -> Middleware:
    """What is remembered of requests, for whom: figures, texts in the log, `on_request`."""
    sampler = sampler_for(settings)

    def begin(record: RequestRecord) -> None:
        metrics.begin(record)
        if sampler is None:
            return
        if not is_admin_path(route_path({"path": normal_path(record.path)})):
            record.excerpt = sampler.draw()

    def end(record: RequestRecord) -> None:
        metrics.end(record)
        on_request(record)

    return Middleware(Recorded, on_request=end, on_begin=begin)


def _gateway(settings: Settings, keyring: Keyring, buckets: Buckets) -> list[Middleware]:
    """What a request passes before it is routed. Raises: ConfigInvalid."""
    checks = [
        Middleware(
            CrossOrigin,
            origins=parse_origins(settings.allowed_origins),
            add_headers=add_headers,
        ),
        Middleware(Authenticated, keyring=keyring, on_caller=note_caller),
        Middleware(
            Metered,
            limits=rate_limits(settings),
            buckets=buckets,
            add_headers=add_headers,
        ),
    ]
    allowed = split_list(settings.allowed_hosts)
    if is_loopback(settings.host) or allowed:
        checks.insert(0, Middleware(HostChecked, allowed=allowed))
    return checks


def _routes(
    manager: ModelManager,
    settings: Settings,
    keys: Keys,
    reload: Reload | None,
    library: Library | None,
    headers_after_seconds: float,
    health: Health,
    metrics: Metrics,
) -> list[BaseRoute]:
    fingerprint = f"localserve-{_version()}"

    def post(path: str, endpoint: object) -> Route:
        return Route(path, endpoint, methods=["POST"])  # type: ignore[arg-type]

    def answers(exchange: Exchange[Any]) -> object:
        return AnswerEndpoint(
            exchange, manager, settings, headers_after_seconds=headers_after_seconds
        )

    chat = answers(chat_exchange(fingerprint))
    store = ResponseStore()
    response = ResponseEndpoint(
        store, manager, settings, headers_after_seconds=headers_after_seconds
    )
    responses = Responses(store)
    message, count = answers(MESSAGE), AtOnceEndpoint(COUNT, manager, settings)
    native_embedding = AtOnceEndpoint(llama_server.EMBEDDING, manager, settings)
    tokenize = AtOnceEndpoint(llama_server.TOKENIZE, manager, settings)
    detokenize = AtOnceEndpoint(llama_server.DETOKENIZE, manager, settings)
    template = AtOnceEndpoint(llama_server.TEMPLATE, manager, settings)
    chat_count = AtOnceEndpoint(llama_server.COUNT, manager, settings)
    embedding = AtOnceEndpoint(EMBEDDING, manager, settings)
    rerank = AtOnceEndpoint(RERANK, manager, settings)
    inspection = llama_server.Inspection(manager, fingerprint)
    native = answers(llama_server.COMPLETION)
    completion = answers(completion_exchange(fingerprint))
    lm_studio = LmStudioModels(manager)
    models, admin = Models(manager), Admin(manager)
    everywhere: list[BaseRoute] = []
    for prefix in ("/v1", ""):
        everywhere += [
            post(f"{prefix}/chat/completions", chat),
            post(f"{prefix}/responses", response),
            Route(f"{prefix}/responses/{{id}}", responses.show, methods=["GET"]),
            Route(f"{prefix}/responses/{{id}}", responses.delete, methods=["DELETE"]),
            post(f"{prefix}/messages", message),
            post(f"{prefix}/messages/count_tokens", count),
            post(f"{prefix}/chat/completions/input_tokens", chat_count),
            post(f"{prefix}/infill", answers(llama_server.INFILL)),
            post(f"{prefix}/completion", native),
            post(f"{prefix}/embedding", native_embedding),
            post(f"{prefix}/tokenize", tokenize),
            post(f"{prefix}/detokenize", detokenize),
            post(f"{prefix}/apply-template", template),
            Route(f"{prefix}/props", inspection.properties, methods=["GET"]),
            post(f"{prefix}/props", inspection.change_properties),
            Route(f"{prefix}/slots", inspection.slots),
            post(f"{prefix}/slots/{{slot}}", inspection.change_slot),
            post(f"{prefix}/rerank", rerank),
            post(f"{prefix}/reranking", rerank),
            Route(f"{prefix}/models", models.list),
            Route(f"{prefix}/models/{{name:path}}", models.show),
            Route(f"{prefix}/health", health.ready),
            Route(f"{prefix}/health/ready", health.ready),
            Route(f"{prefix}/health/live", health.live),
            Route(f"{prefix}/health/details", health.details),
            Route(f"{prefix}/metrics", metrics.show),
            Route(f"{prefix}/errors/{{code}}", describe_error),
            post(f"{prefix}/admin/reload", _reload_endpoint(reload)),
            Route(f"{prefix}/admin/models", admin.list),
            Route(f"{prefix}/admin/routes/explain", RouteExplanation().show, methods=["GET"]),
            Route(f"{prefix}/admin/keys", keys.list, methods=["GET"]),
            post(f"{prefix}/admin/keys", keys.create),
            post(f"{prefix}/admin/keys/{{name}}/rotate", keys.rotate),
            post(f"{prefix}/admin/keys/{{name}}/revoke", keys.revoke),
            *(
                post(
                    f"{prefix}/admin/models/{{name:path}}/{change.__name__}",
                    change,
                )
                for change in (admin.load, admin.unload, admin.default, admin.pin, admin.unpin)
            ),
            Route(prefix or "/", _greet),
        ]
    return [
        *everywhere,
        *documentation_routes(_version()),
        *ollama_routes(manager, settings, library, headers_after_seconds=headers_after_seconds),
        post("/v1/completions", completion),
        post("/v1/embeddings", embedding),
        post("/completions", native),
        post("/embeddings", native_embedding),
        Route("/api/v0/models", lm_studio.list),
        Route("/api/v0/models/{name:path}", lm_studio.show),
        post("/api/v0/chat/completions", chat),
        post("/api/v0/completions", completion),
        post("/api/v0/embeddings", embedding),
    ]


def _reload_endpoint(reload: Reload | None) -> Callable[[Request], Awaitable[Response]]:
    async def reload_now(request: Request) -> Response:
        if reload is None:
            raise RouteUnknown("This server has no configuration to read again.")
        await reload()
        return JSONResponse({"status": "ok"})

    return reload_now


async def _greet(request: Request) -> Response:
    if means_ollama(request):
        return PlainTextResponse(GREETING)
    return PlainTextResponse("localserve is running. GET /v1/models lists its models.\n")


def _version() -> str:
    try:
        return version("localserve")
    except PackageNotFoundError:
        return "0"
