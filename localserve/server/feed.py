"""The events of one answer, on their way from the backend to the client.

One task runs the backend's generator, so that waiting with a limit never disturbs it; a second one
notices that the client is gone. Leaving the block ends both: the generator is closed and the lease
released before it is left. Knows nothing of wire formats. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from starlette.types import Receive

from localserve.chat import ChatEvent, Completed
from localserve.errors import DeadlineExceeded, EngineFailed, LocalserveError
from localserve.manager import Lease, ModelManager
from localserve.server.errors import shutting_down

logger = logging.getLogger("localserve.server")

CLOSE_SECONDS = 30.0
"""The longest that a closed answer may take to let go of its backend; then that is logged."""

Ask = Callable[[Lease], AsyncGenerator[ChatEvent, None]]
"""Starts the answer on the backend that is leased."""


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class Feed:
    """`async with Feed(...) as feed`, then `feed.next(...)` until the Completed event came.

    Holds what the client has not taken yet: at most one answer, which the context bounds. After
    `deadline_seconds` it fails with DeadlineExceeded.
    """

    def __init__(
        self,
        manager: ModelManager,
        model: str,
        ask: Ask,
        receive: Receive,
        *,
        deadline_seconds: float | None = None,
        keep_alive_seconds: float | None = None,
    ) -> None:
        self._manager = manager
        self._model = model
        self._keep_alive_seconds = keep_alive_seconds
        self._ask = ask
        self._receive = receive
        self._events: list[ChatEvent] = []
        self._news = asyncio.Event()
        self._failure: Exception | None = None
        self._completed = False
        self._deadline_seconds = deadline_seconds
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._answering = asyncio.create_task(self._answer(), name="answer")
        self._watching = asyncio.create_task(self._watch(), name="watch the client")
        if self._deadline_seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._deadline_seconds, self.end, deadline_exceeded())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._watching.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if not self._completed:
            self._answering.cancel()
        _, late = await asyncio.wait({self._answering, self._watching}, timeout=CLOSE_SECONDS)
        for task in late:
            logger.error("%s is not closed after %.0f s", task.get_name(), CLOSE_SECONDS)

    def end(self, error: LocalserveError) -> None:
        """Give the answer up at once, and tell the client why. Harmless when it is complete."""
        if not self._completed:
            self._fail(error)
            self._answering.cancel()

    async def next(self, timeout_seconds: float | None = None) -> list[ChatEvent]:
        """What came since the last call, waiting for it; [] when nothing came in time.

        The server cancels what is still answered when its drain is over; that, too, ends the
        answer with an error that can be told to the client.

        Raises: ClientLeft, and what the lease or the backend raised, after its last events.
        """
        if not self._news.is_set():
            try:
                async with asyncio.timeout(timeout_seconds):
                    await self._news.wait()
            except TimeoutError:
                return []
            except asyncio.CancelledError:
                raise shutting_down() from None
        if isinstance(self._failure, ClientLeft) or (self._failure and not self._events):
            raise self._failure
        if self._failure is None:
            self._news.clear()
        events, self._events = self._events, []
        return events

    async def _answer(self) -> None:
        try:
            async with (
                self._manager.lease(
                    self._model, keep_alive_seconds=self._keep_alive_seconds
                ) as lease,
                aclosing(self._ask(lease)) as events,
            ):
                async for event in events:
                    self._completed = isinstance(event, Completed)
                    self._events.append(event)
                    self._news.set()
            if not self._completed:
                self._fail(EngineFailed("The answer ended before it was complete."))
        except asyncio.CancelledError:
            self._fail(shutting_down())
            raise
        except Exception as error:
            self._fail(error)

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._fail(ClientLeft())

    def _fail(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._news.set()


def deadline_exceeded() -> DeadlineExceeded:
    """The client wanted the answer sooner or not at all."""
    return DeadlineExceeded(
        "The answer was not complete by the request's own deadline.",
        hint="Send a larger deadline_ms, or ask for fewer tokens.",
    )
