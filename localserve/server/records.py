"""What is remembered of a request until it ends: its id, and the one line of the log.

Never any content. Knows nothing of dialects. Lives on the event loop.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Finished,
    ReasoningDelta,
    TextDelta,
    ToolCallBegun,
)

logger = logging.getLogger("localserve.requests")

MAX_LOGGED_CHARACTERS = 200
"""Of a path or a model's name."""

_GIVEN_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_KEY = "localserve.record"


@dataclass(slots=True)
class RequestRecord:
    """Filled while the request is answered. None means 'did not come to that'.

    `caller` is the name of the key. `headers` go out with the response, besides its own. `lease_ms`
    is the wait for the model itself.
    """

    request_id: str
    method: str
    path: str
    started: float = field(default_factory=time.monotonic)
    status: int | None = None
    caller: str = ""
    client_left: bool = False
    error: str | None = None
    model: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    answer_pieces: int = 0
    tokens_per_second: float | None = None
    asked_ms: float | None = None
    lease_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float = 0.0
    finish_reasons: tuple[str, ...] = ()
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def ask(self, model: str) -> None:
        """The request is understood, and a model is going to be asked."""
        self.model, self.asked_ms = model, self._elapsed_ms()

    def leased(self) -> None:
        """The model is there."""
        self.lease_ms = self._elapsed_ms() - (self.asked_ms or 0.0)

    def observe(self, events: Iterable[ChatEvent]) -> None:
        """Take from the events of the answer what the log says of them."""
        for event in events:
            match event:
                case Accepted():
                    self.model, self.prompt_tokens = event.model, event.prompt_tokens
                case TextDelta() | ReasoningDelta() | ToolCallBegun() | ArgumentsDelta():
                    self.answer_pieces += 1
                    if self.first_token_ms is None:
                        self.first_token_ms = self._elapsed_ms()
                case Finished():
                    if event.reason not in self.finish_reasons:
                        self.finish_reasons += (event.reason,)
                case Completed(usage, timings):
                    self.prompt_tokens = usage.prompt_tokens
                    self.cached_tokens = usage.cached_tokens
                    self.completion_tokens = usage.completion_tokens
                    self.tokens_per_second = timings.tokens_per_second

    @property
    def tokens_used(self) -> int:
        """Of the prompt and of what was answered; of an answer that was cut off its pieces."""
        answered = self.completion_tokens
        return (self.prompt_tokens or 0) + (self.answer_pieces if answered is None else answered)

    def end(self) -> None:
        """The response is out, or the client gone."""
        self.total_ms = self._elapsed_ms()

    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self.started) * 1000


OnRequest = Callable[[RequestRecord], None]
"""Called once for every request, after its end."""


class Recorded:
    """Gives every request an id and a record, and every response the header `x-request-id`."""

    def __init__(self, app: ASGIApp, on_request: OnRequest) -> None:
        self.app = app
        self.on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = RequestRecord(_request_id(scope), scope["method"], scope["path"])
        scope[_KEY] = record
        header = (b"x-request-id", record.request_id.encode())

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {
                    **message,
                    "headers": [*message.get("headers", ()), header, *record.headers],
                }
            await send(message)

        try:
            await self.app(scope, receive, send_recorded)
        finally:
            record.end()
            self.on_request(record)


def record_of(scope: Scope) -> RequestRecord:
    """The record of the request that is being answered."""
    record = scope[_KEY]
    assert isinstance(record, RequestRecord)
    return record


def log_request(record: RequestRecord) -> None:
    """Write the one line of a request."""
    logger.info("%s", format_record(record))


def format_record(record: RequestRecord) -> str:
    """One line; what did not come to pass is left out."""
    outcome = "client left" if record.client_left else str(record.status or "no response")
    parts = [f"{record.method} {_printable(record.path)} {outcome}"]
    if record.error is not None:
        parts.append(record.error)
    if record.caller:
        parts.append(f"key {record.caller}")
    if record.model is not None:
        parts.append(_printable(record.model))
    if record.prompt_tokens is not None:
        cached = f" ({record.cached_tokens} cached)" if record.cached_tokens else ""
        parts.append(f"prompt {record.prompt_tokens}{cached}")
    if record.completion_tokens is not None:
        parts.append(f"answer {record.completion_tokens}")
    if record.tokens_per_second is not None:
        parts.append(f"{record.tokens_per_second:.1f} tokens/s")
    if record.first_token_ms is not None:
        parts.append(f"first {record.first_token_ms:.0f} ms")
    parts.append(f"total {record.total_ms:.0f} ms")
    if record.finish_reasons:
        parts.append("+".join(record.finish_reasons))
    parts.append(record.request_id)
    return " | ".join(parts)


def _printable(text: str) -> str:
    """What a client sent, without line breaks and the like; '...' stands for the rest of it."""
    short = text[:MAX_LOGGED_CHARACTERS] + "..." * (len(text) > MAX_LOGGED_CHARACTERS)
    return short.encode("unicode_escape").decode()


def _request_id(scope: Scope) -> str:
    """The client's own id if it is short and printable, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return str(value.decode())
    return new_request_id()


def new_request_id() -> str:
    """An id that no other request has."""
    return f"req-{uuid4().hex}"
