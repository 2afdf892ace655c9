"""A server in one's own program: the same application and engine, without supervisor.

    async with localserve.serve("qwen3-8b") as server:
        async with server.client() as client:
            print((await client.chat("Hello")).text)

Where llama.cpp aborts it ends the program, as nothing stands between; `localserve up` survives
that. Lives on the event loop of whoever uses it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import ASGIApp

from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry, load_registry
from localserve.catalog.spec import ModelSpec
from localserve.client import AsyncClient
from localserve.config import SETTINGS, Settings, read_settings
from localserve.errors import LocalserveError
from localserve.gateway.exposure import check_gateway
from localserve.server.app import create_app
from localserve.server.listeners import listen
from localserve.server.local_models import LocalModels, Watcher
from localserve.server.web import WebServer

log = logging.getLogger(__name__)

STARTED_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Embedded:
    """A server of this process: where it answers, and the name of its default model."""

    url: str
    model: str

    def client(self) -> AsyncClient:
        """A client of it."""
        return AsyncClient(self.url)


@asynccontextmanager
async def serve(model: str | Path | None = None, **options: object) -> AsyncIterator[Embedded]:
    """Serve for as long as the block lasts, which begins when the model is loaded.

    `model` is a name or a path, None the built-in one; nothing is downloaded for it. `options` are
    settings by name, such as `context_tokens=8192`; `port` is any free one unless it is given.
    Raises: ConfigInvalid, UnknownModel, ModelUnusable, and what a load raises.
    """
    settings, spec, registry = await asyncio.to_thread(_prepare, model, {"port": 0, **options})
    async with AsyncExitStack() as stack:
        models = LocalModels(settings, spec, registry, Watcher(on_failure=_log_failure))
        stack.push_async_callback(models.close)
        listeners = listen(settings.host, settings.port)
        stack.callback(listeners.close)
        server = WebServer(_application(models, settings), settings)
        serving = asyncio.create_task(server.serve([*listeners.sockets]), name="embedded server")
        stack.push_async_callback(_end, server, serving)
        while not (server.started or serving.done()):  # noqa: ASYNC110 (uvicorn tells nobody)
            await asyncio.sleep(STARTED_LOOK_SECONDS)
        async with models.manager.lease(spec.name):
            pass
        yield Embedded(listeners.url, spec.name)


@asynccontextmanager
async def application(model: str | Path | None = None, **options: object) -> AsyncIterator[ASGIApp]:
    """The ASGI application, to be mounted in another one for as long as the block lasts.

    The block belongs in the lifespan of that other one. Arguments and errors as of `serve`; `host`
    is where the outer one listens, which decides whether API keys are needed.
    """
    settings, spec, registry = await asyncio.to_thread(_prepare, model, options)
    async with AsyncExitStack() as stack:
        models = LocalModels(settings, spec, registry, Watcher(on_failure=_log_failure))
        stack.push_async_callback(models.close)
        app = _application(models, settings)
        await stack.enter_async_context(app.router.lifespan_context(app))
        async with models.manager.lease(spec.name):
            pass
        yield app


def _prepare(
    model: str | Path | None, options: Mapping[str, object]
) -> tuple[Settings, ModelSpec, Registry]:
    """Raises: TypeError (no such option), ConfigInvalid, UnknownModel, ModelUnusable."""
    if unknown := sorted(options.keys() - {setting.name for setting in SETTINGS}):
        raise TypeError(f"{unknown[0]!r} is no setting; README.md, 'models.toml', has them all.")
    settings = read_settings(options)
    registry = load_registry(settings)
    check_gateway(settings)
    return settings, find_model(None if model is None else str(model), registry, settings), registry


def _application(models: LocalModels, settings: Settings) -> Starlette:
    return create_app(models.manager, settings, reload=models.reload, library=models.library)


async def _end(server: WebServer, serving: asyncio.Task[None]) -> None:
    server.stop()
    await serving


def _log_failure(spec: ModelSpec, error: LocalserveError) -> None:
    log.error("%s: %s", spec.name, error)
