"""Streams: an answer as its dialect writes it, signs of life while nothing comes, and their end.

A stream that fails after its headers ends with an error in the dialect's own form. What the engine
hands over is written as soon as it comes, all of it in one piece. Knows nothing of what it writes.
Lives on the event loop.

This writer is its own, for what it does rather than for speed (12.7 us a frame, sse-starlette 14.7,
over 2,000 frames): sse-starlette ends streams when a shutdown begins, not when the drain is over,
and without a last event; its pings come by the clock although events flow; and importing it patches
uvicorn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from starlette.types import Scope, Send

from localserve.chat import Accepted, ChatEvent, Completed
from localserve.errors import LocalserveError
from localserve.server.errors import internal_error
from localserve.server.feed import ClientLeft, Feed
from localserve.server.records import record_of


class Answer(Protocol):
    """How a dialect writes the answer to one request, as a stream or as one body."""

    @property
    def media_type(self) -> str:
        """Of the stream."""
        ...

    def keepalive(self) -> str:
        """What a stream sends while nothing comes."""
        ...

    @property
    def told_in_stream(self) -> tuple[type[LocalserveError], ...]:
        """Errors that go into the stream although its headers could still say so."""
        ...

    def stream(self, events: Sequence[ChatEvent]) -> str:
        """What a stream sends of `events`, which is at least one; after Completed, its end."""
        ...

    def stream_error(self, error: LocalserveError) -> str:
        """The end of a stream that fails."""
        ...

    def body(self, events: Iterable[ChatEvent]) -> str:
        """The whole answer as JSON."""
        ...


class EventStream:
    """Sends one answer. Headers go out with the first events, or after `headers_after_seconds`.

    With `after_first_token` they wait for more than that the request is accepted. Until then errors
    are raised, so that they are answered with a status of their own, but for those that the dialect
    tells in the stream.
    """

    def __init__(
        self,
        feed: Feed,
        answer: Answer,
        *,
        headers_after_seconds: float,
        keepalive_seconds: float,
        after_first_token: bool = False,
    ) -> None:
        self._feed = feed
        self._answer = answer
        self._headers_after_seconds = headers_after_seconds
        self._keepalive_seconds = keepalive_seconds
        self._after_first_token = after_first_token

    async def run(self, scope: Scope, send: Send) -> None:
        """Send everything. Raises: ClientLeft; LocalserveError only before the headers."""
        events: list[ChatEvent] = []
        failure: LocalserveError | None = None
        try:
            events = await self._first_events()
        except self._answer.told_in_stream as error:
            failure = error
        await send_head(send, self._answer.media_type)
        if failure is not None:
            end = self._last_words(scope, failure)
        else:
            end = await end_of(self._send_events(scope, send, events), scope, self._last_words)
        await send_text(send, end, more=False)

    async def _first_events(self) -> list[ChatEvent]:
        """What the headers wait for; [] when nothing came in time."""
        latest = time.monotonic() + self._headers_after_seconds
        events: list[ChatEvent] = []
        while all(isinstance(event, Accepted) for event in events):
            news = await self._feed.next(latest - time.monotonic())
            events += news
            if not news or not self._after_first_token:
                break
        return events

    async def _send_events(self, scope: Scope, send: Send, events: list[ChatEvent]) -> str:
        """Send what comes until the answer is complete; what is left to be sent then."""
        record = record_of(scope)
        while True:
            record.observe(events)
            text = self._answer.stream(events) if events else self._answer.keepalive()
            if events and isinstance(events[-1], Completed):
                return text
            if text:
                await send_text(send, text)
            events = await self._feed.next(self._keepalive_seconds)

    def _last_words(self, scope: Scope, error: LocalserveError) -> str:
        record_of(scope).error = error.code
        return self._answer.stream_error(error)


async def send_head(send: Send, media_type: str) -> None:
    """The status and the headers of a stream. Raises: ClientLeft."""
    headers = [
        (b"content-type", media_type.encode()),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
    ]
    await _send(send, {"type": "http.response.start", "status": 200, "headers": headers})


async def send_text(send: Send, text: str, *, more: bool = True) -> None:
    """A piece of a stream, waiting while the client takes nothing. Raises: ClientLeft."""
    body = {"type": "http.response.body", "body": text.encode(), "more_body": more}
    await _send(send, body)


async def end_of(
    sending: Awaitable[str], scope: Scope, last_words: Callable[[Scope, LocalserveError], str]
) -> str:
    """What a stream still has to send when `sending` is done or has failed. Raises: ClientLeft."""
    try:
        return await sending
    except ClientLeft:
        raise
    except LocalserveError as error:
        return last_words(scope, error)
    except Exception as error:
        return last_words(scope, internal_error(scope, error))


async def _send(send: Send, message: dict[str, object]) -> None:
    """Raises: ClientLeft (the connection is broken, or the drain is over and it takes nothing)."""
    try:
        await send(message)
    except (OSError, asyncio.CancelledError):
        raise ClientLeft from None
