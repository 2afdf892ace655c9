"""The events of one answer, on their way from the backend to the client.

One task runs the backend's generator, so that waiting with a limit never disturbs it; a second one
notices that the client is gone. Leaving the block ends both: the generator is closed and the lease
released before it is left. Knows nothing of wire formats. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from starlette.types import Receive

from localserve.chat import Accepted, ChatEvent, Completed, PromptProgress
from localserve.config import Settings
from localserve.errors import DeadlineExceeded, EngineFailed, LocalserveError, TimedOut
from localserve.server.alarm import Alarm
from localserve.server.errors import shutting_down

logger = logging.getLogger("localserve.server")

CLOSE_SECONDS = 30.0
"""The longest that a closed answer may take to let go of its backend; then that is logged."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that an answer may take in all, and until something of it is said; 0: any time."""

    whole_seconds: float = 0.0
    first_token_seconds: float = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """As they are configured."""
        return cls(settings.request_seconds, settings.first_token_seconds)


NO_LIMITS = Limits()


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


class Feed:
    """`async with Feed(...) as feed`, then `feed.next(...)` until the Completed event came.

    Holds what the client has not taken yet: at most one answer, which the context bounds. After
    `deadline_seconds` it fails with DeadlineExceeded.
    """

    def __init__(
        self,
        source: AsyncGenerator[ChatEvent, None],
        receive: Receive,
        limits: Limits = NO_LIMITS,
        *,
        deadline_seconds: float | None = None,
    ) -> None:
        """`source` is closed when the block is left."""
        self._source = source
        self._limits = limits
        self._timers: list[asyncio.TimerHandle] = []
        self._said = False
        self._receive = receive
        self._events: list[ChatEvent] = []
        self._news = asyncio.Event()
        self._patience = Alarm(self._news.set)
        self._failure: Exception | None = None
        self._completed = False
        self._deadline_seconds = deadline_seconds

    async def __aenter__(self) -> Self:
        self._answering = asyncio.create_task(self._answer(), name="answer")
        self._watching = asyncio.create_task(self._watch(), name="watch the client")
        loop, limits = asyncio.get_running_loop(), self._limits
        if self._deadline_seconds is not None:
            self._timers.append(
                loop.call_later(self._deadline_seconds, self.end, deadline_exceeded())
            )
        if limits.whole_seconds:
            self._timers.append(
                loop.call_later(limits.whole_seconds, self.end, _incomplete(limits))
            )
        if limits.first_token_seconds:
            self._timers.append(loop.call_later(limits.first_token_seconds, self._end_silent))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._patience.close()
        for timer in self._timers:
            timer.cancel()
        self._watching.cancel()
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
            if timeout_seconds is not None:
                self._patience.set(timeout_seconds)
            try:
                await self._news.wait()
            except asyncio.CancelledError:
                raise shutting_down() from None
            finally:
                self._patience.put_off()
        if isinstance(self._failure, ClientLeft) or (self._failure and not self._events):
            raise self._failure
        if self._failure is None:
            self._news.clear()
        events, self._events = self._events, []
        return events

    async def _answer(self) -> None:
        try:
            async with aclosing(self._source) as events:
                async for event in events:
                    self._completed = isinstance(event, Completed)
                    self._said = self._said or not isinstance(event, Accepted | PromptProgress)
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

    def _end_silent(self) -> None:
        if not self._said:
            seconds = self._limits.first_token_seconds
            self.end(TimedOut(f"The answer had not begun within {seconds:g} s."))

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


def _incomplete(limits: Limits) -> TimedOut:
    return TimedOut(f"The answer was not complete within {limits.whole_seconds:g} s.")
