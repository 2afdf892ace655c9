"""The real server around a fake backend, on a port of this machine and a thread of its own.

Any client can ask it, in any language, and tests may be synchronous or not. It knows nothing of the
user's own settings, keys and models.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from localserve.client import AsyncClient, Client
from localserve.config import Settings, read_settings
from localserve.testing.fakes import FakeBackend, fake_manager


@dataclass(frozen=True, slots=True)
class FakeServer:
    """A running server: where it answers, and what answers there."""

    url: str
    backend: FakeBackend
    api_key: str | None = None

    def client(self) -> Client:
        """A client of it."""
        return Client(self.url, api_key=self.api_key)

    def async_client(self) -> AsyncClient:
        """A client of it for coroutines."""
        return AsyncClient(self.url, api_key=self.api_key)


@contextmanager
def fake_server(backend: FakeBackend | None = None, **options: object) -> Iterator[FakeServer]:
    """Serve `backend` (one that says "Hello there!") for as long as the block lasts.

    `options` are settings by name, such as `api_key="a-key-of-mine-for-tests"` or
    `requests_per_minute=2`; `port` is any free one unless it is given.
    Raises: ConfigInvalid.
    """
    backend = backend or FakeBackend()
    with tempfile.TemporaryDirectory(prefix="localserve-") as home:
        given = {"port": 0, "drain_seconds": 0.0, **options}
        settings = read_settings(given, {"LOCALSERVE_HOME": home})
        live: Future[tuple[str, Callable[[], None]]] = Future()
        thread = threading.Thread(
            target=_run, args=(backend, settings, live), name="fake server", daemon=True
        )
        thread.start()
        url, stop = live.result()
        try:
            yield FakeServer(url, backend, settings.api_key)
        finally:
            stop()
            thread.join()


def _run(
    backend: FakeBackend, settings: Settings, live: Future[tuple[str, Callable[[], None]]]
) -> None:
    """Serve until stopped; `live` gets the address and what stops it, or why there is neither."""
    try:
        asyncio.run(_serve(backend, settings, live))
    except Exception as error:
        if live.done():
            raise
        live.set_exception(error)


async def _serve(
    backend: FakeBackend, settings: Settings, live: Future[tuple[str, Callable[[], None]]]
) -> None:
    # Here, for tests that serve nothing would wait for the web framework.
    from localserve.server.app import create_app
    from localserve.server.listeners import listen_as_set
    from localserve.server.web import WebServer

    with contextlib.closing(listen_as_set(settings)) as listeners:
        server = WebServer(
            create_app(fake_manager(backend), settings),
            settings,
            lambda: live.set_result((listeners.url, server.stop)),
        )
        await server.serve([*listeners.sockets])
