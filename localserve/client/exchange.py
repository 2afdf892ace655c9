"""A request until it is answered for good: tries, waits and failures, without any I/O.

`exchange` is a generator that yields what is to be done (`Send`, `Wait`) and is told what came of
it; `clients.py` and `async_clients.py` do it, each in its own way.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

import httpx2

from localserve.client.calls import Asking, Call
from localserve.client.errors import ClientError, ConnectionFailed, StreamBroken, TimedOut
from localserve.client.reading import read_document, read_error, reading
from localserve.client.retrying import RETRIED_STATUSES, Retrying, parse_retry_after

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request, and tell `Came` or raise what httpx2 raises."""

    request: httpx2.Request


@dataclass(frozen=True, slots=True)
class Wait:
    """Let so much time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Came:
    """An answer's head; of an error, and of an answer in one piece, the body as well."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Exchange = Generator[Send | Wait, Came | None, Came]


@dataclass(frozen=True, slots=True)
class Target:
    """The server, and how it is spoken to. `timeout_seconds` bounds the silence of the server
    where it has nothing to compute, `answer_timeout_seconds` where it has."""

    url: str
    key: str | None
    timeout_seconds: float
    answer_timeout_seconds: float | None
    retrying: Retrying

    def request(self, asking: Asking, request_id: str) -> httpx2.Request:
        """The request as bytes."""
        headers = {"x-request-id": request_id, "user-agent": "localserve-client"}
        if asking.body is not None:
            headers["content-type"] = "application/json"
        if self.key is not None:
            headers["authorization"] = f"Bearer {self.key}"
        silence = self.answer_timeout_seconds if asking.slow else self.timeout_seconds
        timeout = httpx2.Timeout(self.timeout_seconds, read=silence)
        return httpx2.Request(
            asking.method,
            self.url + asking.path,
            headers=headers,
            content=asking.content,
            extensions={"timeout": timeout.as_dict()},
        )


def exchange(target: Target, asking: Asking) -> Exchange:
    """Try until there is an answer, or a failure that stands.

    The id of the request is the same for all tries. What timed out is not tried again: the server
    may be computing it still.

    Raises: ConnectionFailed, TimedOut, RequestFailed.
    """
    request_id = uuid4().hex
    failures = 0
    while True:
        retry_after: float | None = None
        error: ClientError
        try:
            came = yield Send(target.request(asking, request_id))
            assert came is not None
        except httpx2.TimeoutException as cause:
            error = _timed_out(target, cause, request_id)
            if not isinstance(cause, httpx2.ConnectTimeout | httpx2.PoolTimeout):
                raise error from cause
            cut: Exception | None = cause
        except httpx2.TransportError as cause:
            error, cut = _cut(target, cause, request_id), cause
        else:
            if came.status < 300:
                return came
            retry_after = parse_retry_after(came.headers.get("retry-after"))
            error = read_error(came.status, came.body, request_id_of(came), retry_after)
            if came.status not in RETRIED_STATUSES:
                raise error
            cut = None
        failures += 1
        delay = target.retrying.delay_seconds(failures, retry_after)
        if delay is None:
            raise error from cut
        yield Wait(delay)


def read_answer(call: Call[Answer], came: Came) -> Answer:
    """The answer as a value. Raises: UnreadableAnswer."""
    request_id = request_id_of(came)
    document = read_document(came.body, request_id)
    return reading(request_id, lambda: call.read(document, request_id))


def request_id_of(came: Came) -> str:
    """What the server's log calls it."""
    return came.headers.get("x-request-id", "")


def _cut(target: Target, cause: Exception, request_id: str) -> ConnectionFailed:
    return ConnectionFailed(
        f"{target.url} cannot be reached: {cause}. `localserve status` says whether a server runs"
        " here and where; `localserve up` starts one.",
        request_id=request_id,
    )


def _timed_out(target: Target, cause: httpx2.TimeoutException, request_id: str) -> TimedOut:
    return TimedOut(
        f"{target.url} did not answer in time ({type(cause).__name__}). Give the client a larger"
        " timeout_seconds (to connect, and for short answers) or answer_timeout_seconds.",
        request_id=request_id,
    )


def broken_by(cause: httpx2.TransportError, request_id: str) -> ClientError:
    """What the cut of a stream that had begun is for the caller."""
    if isinstance(cause, httpx2.TimeoutException):
        return TimedOut(
            "The server said nothing more in time. Give the client a larger"
            " answer_timeout_seconds.",
            request_id=request_id,
        )
    return StreamBroken(f"The answer was cut off: {cause}.", request_id=request_id)
