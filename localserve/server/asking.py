"""What every endpoint that asks a model has in common, whatever the answer is like.

Lives on the event loop; large bodies are parsed in a worker.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from localserve.backends.base import Backend
from localserve.config import Settings
from localserve.manager import Lease, ModelManager
from localserve.server.attempts import Way
from localserve.server.bodies import read_body
from localserve.server.callers import check_model
from localserve.server.feed import ClientLeft
from localserve.server.records import record_of
from localserve.server.router import router_of

PARSE_IN_WORKER_BYTES = 256 << 10
"""From this size on a body takes long enough to parse (about 1 ms) to be parsed off the loop."""

REDUCED_HEADER = b"x-localserve-context-reduced"
"""The context in tokens, where memory did not suffice for the one that was wanted."""


class Named(Protocol):
    """A question to a model."""

    @property
    def model(self) -> str: ...


class Asks(Protocol):
    """What a body asks for."""

    @property
    def request(self) -> Named: ...


Asking = TypeVar("Asking", bound=Asks)


class AskingEndpoint(ABC, Generic[Asking]):
    """Reads what a body asks and who is to answer; `_respond` does the rest."""

    def __init__(
        self, parse: Callable[[bytes], Asking], manager: ModelManager, settings: Settings
    ) -> None:
        """`parse` raises InvalidRequest."""
        self._read = parse
        self._manager = manager
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with client_may_leave(scope):
            body = await read_body(Request(scope, receive), self._settings.max_body_bytes)
            asked = await self._parse(scope, body)
            way = await router_of(scope).way(scope, asked.request, asked.request.model)
            if way is None:
                await check_model(scope, self._manager, asked.request.model)
            await self._respond(scope, receive, send, asked, way, len(body))

    async def _parse(self, scope: Scope, body: bytes) -> Asking:
        """Raises: InvalidRequest."""
        if len(body) < PARSE_IN_WORKER_BYTES:
            return self._read(body)
        return await asyncio.to_thread(self._read, body)

    @abstractmethod
    async def _respond(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        asked: Asking,
        way: Way | None,
        body_bytes: int,
    ) -> None:
        """Answer; `way` is the route that the question names, None where it names a model.

        Raises: ClientLeft, ClientDisconnect, and what becomes an error's answer.
        """


@contextmanager
def client_may_leave(scope: Scope) -> Iterator[None]:
    """Nobody is told of what a client no longer waits for; the request's record is."""
    try:
        yield
    except (ClientLeft, ClientDisconnect):
        record_of(scope).client_left = True


def told(scope: Scope, lease: Lease) -> Backend:
    """The backend; a context that had to be made smaller is told in the response's headers."""
    record_of(scope).leased()
    if lease.reduced_from_tokens is not None:
        tokens = lease.backend.facts.context_tokens
        record_of(scope).set_header(
            REDUCED_HEADER, f"{tokens}; wanted={lease.reduced_from_tokens}".encode()
        )
    return lease.backend
