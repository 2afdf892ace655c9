"""Connections: how many there may be, how long one may dawdle, and how an unwanted one is told so.

uvicorn bounds none of that: a client that connects and says nothing, sends a head without end or
never reads what it asked for would hold a connection for ever. Knows nothing of requests' contents.
Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from http import HTTPStatus
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from localserve.dialects.openai import error_fields
from localserve.errors import InvalidRequest, LocalserveError
from localserve.server.errors import (
    HeadTooLarge,
    TooManyConnections,
    retry_after_seconds,
    status_of,
)
from localserve.server.http_parser import OneProtocolParser
from localserve.server.records import new_request_id

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("localserve.server")

HEAD_SECONDS = 60.0
"""The time from the start of a connection or a request to the end of the request's head."""

MAX_HEAD_BYTES = 64 << 10
"""The size from which on a head that is still not complete is refused."""

REST_SECONDS = 30.0
"""What a client still sends of a request that is answered already may take so long."""

STALL_SECONDS = 120.0
"""A client that takes nothing for so long counts as gone."""

FAREWELL_SECONDS = 2.0
"""How long a client that is turned away may take to read why."""

MAX_FAREWELLS = 64
"""More clients than that are not told why at the same time."""

WARNING_SECONDS = 10.0
"""The log says at most this often that connections were turned away."""

RESERVED_FILES = 256
"""Open files that are not connections: models, pipes, libraries."""


class Turnstile:
    """Counts what comes in against the most that there may be."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.farewells: set[Farewell] = set()
        self._turned_away = 0
        self._warn_after = 0.0

    def turn_away(self, transport: asyncio.Transport) -> None:
        """Tell a client that there is no room for it, and log that now and then."""
        self._turned_away += 1
        if time.monotonic() >= self._warn_after:
            logger.warning(
                "%d connections were turned away: %d are open (LOCALSERVE_MAX_CONNECTIONS)",
                self._turned_away,
                self.most,
            )
            self._warn_after = time.monotonic() + WARNING_SECONDS
            self._turned_away = 0
        error = TooManyConnections(
            f"{self.most} connections are open already; no more are taken.",
            retry_after_seconds=5,
            hint="Close some, or start with a larger LOCALSERVE_MAX_CONNECTIONS.",
        )
        self.say_farewell(transport, error)

    def say_farewell(self, transport: asyncio.Transport, error: LocalserveError) -> None:
        """End a connection with an answer, or without one where too many get theirs already."""
        if len(self.farewells) >= MAX_FAREWELLS:
            transport.abort()
        else:
            transport.set_protocol(Farewell(transport, _raw_response(error), self.farewells))


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with bounds. `turnstile` is set by `bounded_by`."""

    turnstile: ClassVar[Turnstile]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.parser: OneProtocolParser = OneProtocolParser(self)  # type: ignore[assignment]
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._stall_timer: asyncio.TimerHandle | None = None
        self._stalled_bytes = 0
        self._rest_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        made = cast(asyncio.Transport, transport)
        if len(self.connections) >= self.turnstile.most:
            self.turnstile.turn_away(made)
            return
        super().connection_made(made)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._give_up_on_large_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        if self.parser.asks_for_another():
            return
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        answered = self.cycle.response_complete and not self.transport.is_closing()
        unfinished = answered and self.cycle.more_body
        super().on_response_complete()
        if unfinished:  # what comes keeps uvicorn from ending the connection
            self._rest_timer = self.loop.call_later(REST_SECONDS, self.transport.abort)

    def on_message_complete(self) -> None:
        if self.parser.asks_for_another():
            return
        super().on_message_complete()
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        self._stop_timers()
        if self._answering and (self.cycle.response_started or self.pipeline):
            self.transport.abort()
            return
        self.connections.discard(self)
        if self._answering:
            self.cycle.disconnected = True  # it waits for a body that does not come
            self.cycle.message_event.set()
            error = InvalidRequest("The body of the request is not framed as HTTP/1.1 frames it.")
        else:
            secure = self.scheme == "https"
            hint = "" if secure else "For https, start the server with --tls-cert and --tls-key."
            error = InvalidRequest("This is no HTTP/1.1 request.", hint=hint)
        self.turnstile.say_farewell(self.transport, error)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_progress()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # closing would wait until the client takes it
        super().timeout_keep_alive_handler()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up_on_late_head)

    def _give_up_on_late_head(self) -> None:
        if self._answering:  # the next request may wait for this answer
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up_on_late_head)
        else:
            self._stop_timers()
            self.transport.close()

    def _give_up_on_large_head(self) -> None:
        self._stop_timers()
        if self.transport.is_closing():
            return
        if self._answering:
            self.transport.abort()  # in the middle of another answer there is no way to tell
            return
        self.connections.discard(self)
        error = HeadTooLarge(
            f"The head of the request has more than {MAX_HEAD_BYTES:,} bytes.",
            hint="Send less in the URL and the headers.",
        )
        self.turnstile.say_farewell(self.transport, error)

    def _expect_progress(self) -> None:
        self._stalled_bytes = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(STALL_SECONDS, self._check_progress)

    def _check_progress(self) -> None:
        if self.transport.get_write_buffer_size() < self._stalled_bytes:
            self._expect_progress()
        else:
            self.transport.abort()

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._stall_timer, self._rest_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._stall_timer = self._rest_timer = None


class Farewell(asyncio.Protocol):
    """A connection after the last word: what still comes is read and dropped for a moment.

    Closing at once would reset the connection, and the client might never see the word.
    """

    def __init__(
        self, transport: asyncio.Transport, words: bytes, farewells: set[Farewell]
    ) -> None:
        self._farewells = farewells
        farewells.add(self)
        transport.write(words)
        if transport.can_write_eof():  # not so with TLS
            transport.write_eof()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(FAREWELL_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._farewells.discard(self)


def bounded_by(most: int) -> type[Connection]:
    """A protocol of which at most `most` connections are open at once."""

    class Bounded(Connection):
        turnstile = Turnstile(most)

    return Bounded


def room_for(connections: int) -> int:
    """Let this process have that many open beside its other files; how many it really may have."""
    if resource is None:
        return connections
    wanted = connections + RESERVED_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _below(soft, wanted):
        allowed = hard if _below(hard, wanted) else wanted
        with contextlib.suppress(ValueError, OSError):  # a bound of the system's own
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _below(soft, wanted):
        return connections
    room = max(1, soft - min(RESERVED_FILES, soft // 2))
    logger.warning(
        "at most %d connections are taken, not %d: the system lets this process open %d files"
        " (ulimit -n)",
        room,
        connections,
        soft,
    )
    return room


def _below(limit: int, wanted: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < wanted


def _raw_response(error: LocalserveError) -> bytes:
    """A whole HTTP response, for a connection that never gets to the application."""
    status = HTTPStatus(status_of(type(error)))
    request_id = new_request_id()
    body = json.dumps(error_fields(error, status, request_id)).encode()
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        "connection: close",
    ]
    if (seconds := retry_after_seconds(error)) is not None:
        head.append(f"retry-after: {seconds}")
    return "\r\n".join([*head, "", ""]).encode() + body
