"""The application: routes, middleware and the life of the manager, put together.

Every route is served with and without `/v1`; `/completions` and `/embeddings` without it are those
of llama-server. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

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
from localserve.manager.fits import Fits, Look
from localserve.manager.library import Library
from localserve.response_cache.cache import ResponseCache
from localserve.server.activity import Activity
from localserve.server.activity_events import ActivityEvents
from localserve.server.admin import Admin
from localserve.server.cache_admin import CacheAdmin, CacheMetrics
from localserve.server.caching import caching_for
from localserve.server.callers import add_headers, note_caller
from localserve.server.checks import HealthChecks
from localserve.server.dashboard import Dashboard, wants_page
from localserve.server.endpoints import (
    Endpoints,
    Parts,
    admin_routes,
    anthropic_routes,
    bare_routes,
    llama_server_routes,
    lm_studio_routes,
    openai_routes,
    post,
    probe_routes,
    with_and_without_v1,
)
from localserve.server.errors import (
    Failures,
    RouteUnknown,
    answer_error,
    answer_http_error,
)
from localserve.server.fitting import Fitting
from localserve.server.health import Health
from localserve.server.keys import Keys
from localserve.server.lag import LagWatched, LoopLag
from localserve.server.library import DiscardEndpoint
from localserve.server.machine_memory import MachineMemory
from localserve.server.metrics import Metrics
from localserve.server.observing import sampler_for, tracing_for
from localserve.server.ollama import GREETING, means_ollama, ollama_routes
from localserve.server.openapi import documentation_routes
from localserve.server.paths import NormalPaths, normal_path
from localserve.server.records import OnRequest, Recorded, RequestRecord, RouteNoted
from localserve.server.remote_checks import remote_checks
from localserve.server.request_lines import log_request
from localserve.server.router import Router
from localserve.server.tracing import Traced
from localserve.server.vitals import own_checks
from localserve.telemetry.spans import Tracing
from localserve.versions import version_of

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
    look: Look | None = None,
) -> Starlette:
    """The ASGI application that answers for the models of `manager`.

    Its lifespan starts `manager` and closes it. `reload` is what `POST /admin/reload` calls,
    `library` what fetches models and deletes them.
    `owner_key` is a key with all rights that is in no file.
    `on_request` is called once for every request, after its end; by default it logs one line.
    `tracing` makes spans (None: one of its own, where the settings want them). Checks of
    `/health/details` can be added to `app.state.health_checks`. `routes` are names that stand for
    one of several models; `app.state.router` takes over others. `look` measures the machine, for
    what fits and who holds its memory.
    """
    version = version_of("localserve")
    store, buckets = key_store(settings), buckets_for(settings)
    keyring = Keyring(
        store,
        FixedKeys(environment=settings.api_key, owner=owner_key),
        open_without_keys=is_loopback(settings.host),
    )
    checks = own_checks(manager, settings, store, buckets)
    checks.add_source(lambda: remote_checks(manager))
    caching = caching_for(settings, manager)
    cache = caching.cache if caching is not None else None
    metrics = _metrics(manager, version, cache)
    admin = Admin(manager, MachineMemory(look))
    activity, lag = Activity(admin), LoopLag()
    own_tracing = tracing_for(settings, version) if tracing is None else None
    app = Starlette(
        routes=_routes(
            Parts(manager, settings, headers_after_seconds, f"localserve-{version}"),
            reload,
            library,
            Health(manager, checks, lag),
            metrics,
            CacheAdmin(cache),
            Keys(store, on_change=keyring.look_again),
            admin,
            activity,
            ActivityEvents(activity, keyring),
            Fitting(Fits(manager, settings, look) if look is not None else None),
        ),
        middleware=[
            _recorded(settings, metrics, activity, on_request),
            Middleware(LagWatched, lag=lag),
            *_traced(tracing or own_tracing),
            Middleware(Failures),
            Middleware(NormalPaths),
            *_gateway(settings, keyring, buckets),
            Middleware(RouteNoted),
        ],
        exception_handlers={LocalserveError: answer_error, HTTPException: answer_http_error},
        lifespan=_lifespan(manager, checks, buckets, cache, own_tracing),
    )
    app.router.redirect_slashes = False
    app.state.health_checks = checks
    app.state.caching = caching
    app.state.router = Router(manager, routes)
    return app


def _metrics(manager: ModelManager, version: str, cache: ResponseCache | None) -> Metrics:
    metrics = Metrics(manager, version)
    if cache is not None:
        metrics.add(CacheMetrics(cache))
    return metrics


def _traced(tracing: Tracing | None) -> list[Middleware]:
    return [Middleware(Traced, tracing=tracing)] if tracing is not None else []


def _lifespan(
    manager: ModelManager,
    checks: HealthChecks,
    buckets: Buckets,
    cache: ResponseCache | None,
    tracing: Tracing | None,
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """Starts the manager, and closes all of them; one that cannot be closed stops no other."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:  # the last that is pushed is called first
            if tracing is not None:
                closing.push_async_callback(asyncio.to_thread, tracing.close)
            if cache is not None:
                closing.push_async_callback(cache.close)
            closing.push_async_callback(buckets.close)
            closing.push_async_callback(checks.close)
            closing.push_async_callback(manager.close)
            manager.start()
            yield

    return lifespan


def _recorded(
    settings: Settings, metrics: Metrics, activity: Activity, on_request: OnRequest
) -> Middleware:
    """What is remembered of requests, for whom: figures, texts in the log, `on_request`."""
    sampler = sampler_for(settings)

    def begin(record: RequestRecord) -> None:
        metrics.begin(record)
        activity.begin(record)
        if sampler is None:
            return
        if not is_admin_path(route_path({"path": normal_path(record.path)})):
            record.excerpt = sampler.draw()

    def end(record: RequestRecord) -> None:
        metrics.end(record)
        activity.end(record)
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
    parts: Parts,
    reload: Reload | None,
    library: Library | None,
    health: Health,
    metrics: Metrics,
    cache: CacheAdmin,
    keys: Keys,
    admin: Admin,
    activity: Activity,
    events: ActivityEvents,
    fitting: Fitting,
) -> list[BaseRoute]:
    dashboard, endpoints = Dashboard(), Endpoints(parts)
    return [
        *with_and_without_v1(
            [
                *openai_routes(parts, endpoints),
                *anthropic_routes(parts),
                *llama_server_routes(parts, endpoints),
                *probe_routes(health, metrics),
                post("/admin/reload", _reload_endpoint(reload)),
                *admin_routes(
                    parts.settings,
                    admin,
                    activity,
                    events,
                    cache,
                    keys,
                    fitting,
                    DiscardEndpoint(library),
                ),
                Route("/", _greeting(dashboard)),
            ]
        ),
        *ollama_routes(
            parts.manager,
            parts.settings,
            library,
            headers_after_seconds=parts.headers_after_seconds,
        ),
        *bare_routes(endpoints),
        Route("/dashboard/{name}", dashboard.file),
        *documentation_routes(version_of("localserve")),
        *lm_studio_routes(parts, endpoints),
    ]


def _reload_endpoint(reload: Reload | None) -> Callable[[Request], Awaitable[Response]]:
    async def reload_now(request: Request) -> Response:
        if reload is None:
            raise RouteUnknown("This server has no configuration to read again.")
        await reload()
        return JSONResponse({"status": "ok"})

    return reload_now


def _greeting(dashboard: Dashboard) -> Callable[[Request], Awaitable[Response]]:
    async def greet(request: Request) -> Response:
        if wants_page(request):
            return dashboard.page(request)
        if means_ollama(request):
            return PlainTextResponse(GREETING, headers=_BY_ACCEPT)
        return PlainTextResponse(
            "localserve is running. GET /v1/models lists its models.\n", headers=_BY_ACCEPT
        )

    return greet


_BY_ACCEPT = {"vary": "Accept"}
