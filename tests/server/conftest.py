"""Apps over a fake backend: called directly, or behind a real server on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.applications import Starlette

from localserve.config import Settings, read_settings
from localserve.manager import ModelManager, Ready
from localserve.server.app import create_app
from localserve.server.records import RequestRecord
from localserve.testing import FakeBackend, fake_manager

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}

Serve = Callable[..., AbstractAsyncContextManager["Served"]]


class Served:
    """A running app. `records` are the requests that ended."""

    def __init__(self, app: Starlette, manager: ModelManager, records: list[RequestRecord]) -> None:
        self.app = app
        self.manager = manager
        self.records = records
        self.client: httpx2.AsyncClient
        self.port = 0
        self.server: uvicorn.Server

    async def record(self) -> RequestRecord:
        """The record of the next request that ends."""
        await until(lambda: bool(self.records))
        return self.records.pop(0)


async def until(condition: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
    """Wait for what is sure to happen soon."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def _made(
    backend: FakeBackend | None, manager: ModelManager | None, options: dict[str, Any]
) -> Served:
    manager = manager or fake_manager(backend or FakeBackend())
    records: list[RequestRecord] = []
    arguments = {"on_request": records.append, **options.pop("arguments", {})}
    settings: Settings = replace(read_settings(environ={}), **options)
    return Served(create_app(manager, settings, **arguments), manager, records)


async def _ready(served: Served) -> None:
    await until(lambda: isinstance(served.manager.state, Ready))


@asynccontextmanager
async def _call_directly(
    backend: FakeBackend | None = None,
    *,
    manager: ModelManager | None = None,
    ready: bool = True,
    **options: Any,
) -> AsyncIterator[Served]:
    served = _made(backend, manager, options)
    transport = httpx2.ASGITransport(app=served.app)
    async with (
        served.app.router.lifespan_context(served.app),
        httpx2.AsyncClient(transport=transport, base_url="http://localserve") as served.client,
    ):
        if ready:
            await _ready(served)
        yield served


@asynccontextmanager
async def _serve(
    backend: FakeBackend | None = None,
    *,
    manager: ModelManager | None = None,
    ready: bool = True,
    shutdown_seconds: int = 1,
    **options: Any,
) -> AsyncIterator[Served]:
    served = _made(backend, manager, options)
    config = uvicorn.Config(
        served.app,
        host="127.0.0.1",
        port=0,
        http="httptools",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=shutdown_seconds,
    )
    server = served.server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    try:
        await until(lambda: server.started or serving.done())
        served.port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{served.port}", timeout=30
        ) as served.client:
            if ready:
                await _ready(served)
            yield served
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def call() -> Serve:
    """`async with call(backend, **settings) as served` without a network."""
    return _call_directly


@pytest.fixture
def serve() -> Serve:
    """`async with serve(backend, **settings) as served` over TCP."""
    return _serve
