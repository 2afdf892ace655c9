"""The connections to one other server: as many as there may be, and the key that goes with them.

Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from typing import Final
from urllib.parse import urlsplit

import httpx2

from localserve.catalog.spec import RemoteEngine, Replica
from localserve.errors import ModelUnusable, Overloaded

MOST_CONNECTIONS: Final = 256
"""Of requests, to one server. Whether it is there is asked beside them: it is while it is busy."""

MOST_KEPT: Final = 32
"""So many connections that nobody uses stay open."""


class Connections:
    """The connections to one server; `client` makes them and keeps them."""

    def __init__(self, replica: Replica, engine: RemoteEngine) -> None:
        """Raises: ModelUnusable, where the environment lacks the key that is named."""
        self.client = _client(replica, engine)
        self._most = MOST_CONNECTIONS
        self._free = asyncio.Semaphore(self._most)
        self._wait_seconds = engine.connect_seconds

    async def take(self) -> None:
        """Wait until one is free for a request, which gives it back. Raises: Overloaded."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Overloaded(
                f"The server of this model has {self._most} requests already, and no connection is"
                " left for more.",
                retry_after_seconds=5,
                hint="Try again in a few seconds.",
            ) from None

    def give_back(self) -> None:
        """The request is over."""
        self._free.release()

    async def close(self) -> None:
        """Close all of them."""
        await self.client.aclose()


def _client(replica: Replica, engine: RemoteEngine) -> httpx2.AsyncClient:
    """Raises: ModelUnusable."""
    headers = {"user-agent": "localserve"}
    if replica.key_variable is not None:
        key = os.environ.get(replica.key_variable, "")
        if not key or not key.isascii() or not key.isprintable():
            raise ModelUnusable(
                f"The environment variable {replica.key_variable} has no key for a server of the"
                " model.",
                hint="Set it where the server is started.",
            )
        headers["authorization"] = f"Bearer {key}"
    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(None, connect=engine.connect_seconds),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=MOST_KEPT),
        follow_redirects=False,
        trust_env=not _is_here(replica.base_url),
    )


def _is_here(url: str) -> bool:
    """Whether it is this machine, to which no proxy leads."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
