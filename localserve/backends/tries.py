"""The tries of one request to other servers: who is asked next, and after which pause.

Knows nothing of HTTP. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from localserve.backends.replicas import Server, choose_server
from localserve.errors import EngineFailed, LocalserveError

MOST_ATTEMPTS: Final = 3
"""Of one request, over all servers."""

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 2.0
"""Who asks for a longer one is believed, and the client told."""


class TryAgain(Exception):
    """Nothing of an answer came. `elsewhere` says that the same server is not worth another try."""

    def __init__(self, error: LocalserveError, *, elsewhere: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.elsewhere = elsewhere


class Tries:
    """The servers that one request is put to, and how long it waits between."""

    def __init__(self, servers: Sequence[Server], conversation: str, model: str) -> None:
        self._servers = servers
        self._conversation = conversation
        self._model = model
        self._tried: set[Server] = set()
        self._given_up: set[Server] = set()
        self._count = 0
        self._failure: LocalserveError | None = None

    def next(self) -> Server:
        """One that was not tried, else one that may be again. Raises: the last failure."""
        server = choose_server(self._servers, self._conversation, self._tried)
        if server is None:
            server = choose_server(self._servers, self._conversation, self._given_up)
        if server is None:
            raise self._failure or self._all_open()
        self._tried.add(server)
        self._count += 1
        return server

    async def wait(self, server: Server, failure: TryAgain) -> None:
        """Until the next one is to be asked. Raises: the failure, where that is of no use."""
        self._failure = failure.error
        if failure.elsewhere:
            self._given_up.add(server)
        fresh = choose_server(self._servers, self._conversation, self._tried)
        again = choose_server(self._servers, self._conversation, self._given_up)
        if self._count >= MOST_ATTEMPTS or (fresh is None and again is None):
            raise failure.error from None
        if fresh is None:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (self._count - 1), LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))

    def _all_open(self) -> EngineFailed:
        seconds = max(1, round(min(one.breaker.seconds_left for one in self._servers)))
        return EngineFailed(
            f"All servers of {self._model!r} failed several times in a row and are left alone.",
            retry_after_seconds=seconds,
            hint="GET /health/details says what each of them does.",
        )
