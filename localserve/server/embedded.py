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
from dataclasses import dataclass, field, replace
from pathlib import Path

from starlette.types import ASGIApp

from localserve.catalog.locate import find_model
from localserve.catalog.spec import ModelSpec
from localserve.client import AsyncClient
from localserve.config import SETTINGS, Settings, read_settings
from localserve.errors import LocalserveError
from localserve.gateway.keys import new_secret
from localserve.server.configured import Configured, check_startable
from localserve.server.listeners import listen_as_set
from localserve.server.local_models import Watcher
from localserve.server.serving import Serving
from localserve.server.web import WebServer

log = logging.getLogger(__name__)

STARTED_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Embedded:
    """A server of this process: where it answers, and the name of its default model. `owner_key` is
    an API key with all rights, good for as long as the server lasts."""

    url: str
    model: str
    owner_key: str = field(repr=False)

    def client(self) -> AsyncClient:
        """A client of it, with all rights."""
        # The certificate is for the names that others use; this is the process itself.
        return AsyncClient(self.url, api_key=self.owner_key, verify=False)


@asynccontextmanager
async def serve(model: str | Path | None = None, **options: object) -> AsyncIterator[Embedded]:
    """Serve for as long as the block lasts, which begins when the model is loaded.

    `model` is a name or a path, None the built-in one; nothing is downloaded for it. `options` are
    settings by name, such as `context_tokens=8192`; `port` is any free one unless it is given, and
    further ports are taken only if they are.
    Raises: TypeError (no such setting), ConfigInvalid, StoreFailed, UnknownModel, ModelUnusable,
    and what a load raises.
    """
    served = await asyncio.to_thread(_prepare, model, {"port": 0, **options})
    owner_key, _ = new_secret()
    async with AsyncExitStack() as stack:
        serving = served.serving(owner_key)
        stack.push_async_callback(serving.close)
        listeners = listen_as_set(served.settings)
        stack.callback(listeners.close)
        server = WebServer(serving.app, served.settings)
        running = asyncio.create_task(server.serve([*listeners.sockets]), name="embedded server")
        stack.push_async_callback(_end, server, running)
        while not (server.started or running.done()):  # noqa: ASYNC110 (uvicorn tells nobody)
            await asyncio.sleep(STARTED_LOOK_SECONDS)
        async with serving.manager.lease(served.spec.name):
            pass
        yield Embedded(listeners.url, served.spec.name, owner_key)


@asynccontextmanager
async def application(model: str | Path | None = None, **options: object) -> AsyncIterator[ASGIApp]:
    """The ASGI application, to be mounted in another one for as long as the block lasts.

    The block belongs in the lifespan of that other one. Arguments and errors as of `serve`; `host`
    is where the outer one listens, which decides whether API keys are needed.
    """
    served = await asyncio.to_thread(_prepare, model, options)
    async with AsyncExitStack() as stack:
        serving = served.serving()
        stack.push_async_callback(serving.close)
        await stack.enter_async_context(serving.app.router.lifespan_context(serving.app))
        async with serving.manager.lease(served.spec.name):
            pass
        yield serving.app


@dataclass(frozen=True, slots=True)
class _Prepared:
    settings: Settings
    spec: ModelSpec
    configured: Configured

    def serving(self, owner_key: str | None = None) -> Serving:
        watcher = Watcher(on_failure=_log_failure)
        return Serving(self.settings, self.spec, self.configured, watcher, owner_key=owner_key)


def _prepare(model: str | Path | None, options: Mapping[str, object]) -> _Prepared:
    """Raises: TypeError (no such setting), and what `serve` says."""
    if unknown := sorted(options.keys() - {setting.name for setting in SETTINGS}):
        raise TypeError(f"{unknown[0]!r} is no setting; README.md, 'models.toml', has them all.")
    settings = read_settings(options)
    if "also_ports" not in options:  # those of models.toml are for `localserve up`
        settings = replace(settings, also_ports=None)
    configured = check_startable(settings)
    spec = find_model(None if model is None else str(model), configured.models, settings)
    return _Prepared(settings, spec, configured)


async def _end(server: WebServer, running: asyncio.Task[None]) -> None:
    server.stop()
    await running


def _log_failure(spec: ModelSpec, error: LocalserveError) -> None:
    log.error("%s: %s", spec.name, error)
