"""The web server: uvicorn, set up for streams that may be long, and told to stop by a method.

Its signals are the worker's: uvicorn would raise a signal that stopped it once more at the end.
Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from localserve.config import Settings
from localserve.server.connections import bounded_by, room_for
from localserve.server.draining import tell_of_draining

KEEP_ALIVE_SECONDS = 75
"""How long a connection may stay open between two requests."""

LAST_WORDS_SECONDS = 1.0
"""How long the end waits for requests that were cancelled."""


class WebServer(uvicorn.Server):
    """Serves an application until `stop` is called; calls `on_live` when it answers."""

    def __init__(
        self, app: ASGIApp, settings: Settings, on_live: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=bounded_by(room_for(settings.max_connections)),
                log_config=None,
                access_log=False,
                lifespan="on",
                ws="none",
                proxy_headers=False,  # anybody on this machine could forge the address
                server_header=False,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
            )
        )
        self._on_live = on_live
        self._draining = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        tell_of_draining(self.lifespan.state, self._draining)
        await super().startup(sockets)
        self._on_live()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; requests that were cancelled at the end of the drain get to say so."""
        self._draining.set()
        await super().shutdown(sockets)
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=LAST_WORDS_SECONDS)

    def stop(self) -> None:
        """Refuse new connections, and end when all answers are out or the drain time is over.

        From any thread or signal handler.
        """
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave all signals as they are."""
        yield
