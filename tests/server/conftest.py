"""Apps over a fake backend: called directly, or behind a real server on a loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from localserve.config import Settings, read_settings
from localserve.manager import ModelManager, Ready
from localserve.server.app import create_app
from localserve.server.records import RequestRecord
from localserve.server.web import WebServer
from localserve.testing import FakeBackend, fake_manager

CHAT = "/v1/chat/completions"
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
        self.server: WebServer

    async def record(self) -> RequestRecord:
        """The record of the next request that ends."""
        await until(lambda: bool(self.records))
        return self.records.pop(0)


async def until(condition: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
    """Wait for what is sure to happen soon."""
    async with asyncio.timeout(timeout_seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class RawConnection:
    """A socket that speaks just enough HTTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, head: str, body: bytes = b"") -> None:
        self._writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await self._writer.drain()

    async def send_raw(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):  # the other end has had enough
            self._writer.write(data)
            await self._writer.drain()

    async def ends(self) -> bool:
        """Whether the other end closes it or resets it."""
        with contextlib.suppress(ConnectionError):
            await self.read_to_the_end()
        return True

    async def post(self, body: dict[str, Any], path: str = CHAT) -> None:
        content = json.dumps(body).encode()
        await self.send(
            f"POST {path} HTTP/1.1\nhost: localhost\ncontent-length: {len(content)}", content
        )

    async def read_until(self, text: bytes) -> bytes:
        async with asyncio.timeout(20):
            return await self._reader.readuntil(text)

    async def read_to_the_end(self) -> bytes:
        async with asyncio.timeout(20):
            return await self._reader.read()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


@asynccontextmanager
async def connected(served: Served) -> AsyncIterator[RawConnection]:
    connection = RawConnection(*await asyncio.open_connection("127.0.0.1", served.port))
    try:
        yield connection
    finally:
        await connection.close()


def _made(
    backend: FakeBackend | None, manager: ModelManager | None, options: dict[str, Any]
) -> tuple[Settings, Served]:
    manager = manager or fake_manager(backend or FakeBackend())
    records: list[RequestRecord] = []
    arguments = {"on_request": records.append, **options.pop("arguments", {})}
    home = {"LOCALSERVE_HOME": "/nonexistent"}  # no keys of this machine's user
    settings: Settings = replace(read_settings(environ=home), **options)
    return settings, Served(create_app(manager, settings, **arguments), manager, records)


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
    _, served = _made(backend, manager, options)
    transport = httpx2.ASGITransport(app=served.app)
    async with (
        served.app.router.lifespan_context(served.app),
        httpx2.AsyncClient(transport=transport, base_url="http://localhost") as served.client,
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
    listen_on: int = 0,
    **options: Any,
) -> AsyncIterator[Served]:
    settings, served = _made(backend, manager, options | {"drain_seconds": shutdown_seconds})
    server = served.server = WebServer(served.app, settings)
    listener = socket.create_server(("127.0.0.1", listen_on))
    served.port = listener.getsockname()[1]
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: server.started or serving.done())
        async with httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{served.port}", timeout=30
        ) as served.client:
            if ready:
                await _ready(served)
            yield served
    finally:
        server.stop()
        await serving


@pytest.fixture
def call() -> Serve:
    """`async with call(backend, **settings) as served` without a network."""
    return _call_directly


@pytest.fixture
def serve() -> Serve:
    """`async with serve(backend, **settings) as served` over TCP."""
    return _serve
