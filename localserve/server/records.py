"""What is remembered of a request until it ends: its id, and what logs, figures and spans say.

Never any content, but where texts were asked for in the log. Knows nothing of dialects. Lives on
the event loop.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    ChatRequest,
    Completed,
    CompletionRequest,
    EmbeddingRequest,
    Finished,
    Generation,
    InfillRequest,
    ReasoningDelta,
    RerankRequest,
    TextDelta,
    ToolCallBegun,
)
from localserve.errors import LocalserveError
from localserve.telemetry.bodies import BodyExcerpt
from localserve.telemetry.request_id import answering

_OPERATIONS: Final[dict[type[object], str]] = {
    ChatRequest: "chat",
    CompletionRequest: "text_completion",
    InfillRequest: "text_completion",
    EmbeddingRequest: "embeddings",
    RerankRequest: "rerank",
}
"""Names of the gen_ai conventions, which have none for the last."""


class Question(Protocol):
    """What is asked of a model; mostly one of those above."""

    @property
    def model(self) -> str: ...


_GIVEN_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_KEY = "localserve.record"

CACHE_HEADER: Final = b"x-localserve-cache"


def _nobody_measures(seconds: float) -> None:
    pass


Measure = Callable[[float], None]
"""Takes the seconds between two pieces of an answer."""


@dataclass(slots=True)
class RequestRecord:
    """Filled while the request is answered. None means 'did not come to that'.

    `caller` is the name of the key, `route` the pattern of the path, `trace_id` what spans call it,
    `model_route` which models of a route were asked and why, `given_up` those that did not begin to
    answer, each with the reason in one word,
    `operation` what was asked of a model and `model` of which, `served_by` the one that answered.
    `cache` says what the response cache had. `headers` go out with the response, besides its own.
    `began_at` is in seconds since the epoch; of the times, `asked_ms`, `first_token_ms` and
    `total_ms` run from there, `lease_ms` is the wait for the model itself and `queue_ms` that for
    room in it. `measure_of` gives for a model what is told of the times between pieces. `cancel`
    ends the answer with that error.
    """

    request_id: str
    method: str
    path: str
    started: float = field(default_factory=time.monotonic)
    began_at: float = field(default_factory=time.time)
    status: int | None = None
    route: str = ""
    trace_id: str = ""
    caller: str = ""
    client_left: bool = False
    error: str | None = None
    operation: str | None = None
    generation: Generation | None = None
    stream: bool = False
    model: str | None = None
    model_route: str | None = None
    given_up: tuple[tuple[str, str], ...] = ()
    served_by: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    answer_pieces: int = 0
    tokens_per_second: float | None = None
    lease_ms: float | None = None
    queue_ms: float | None = None
    prompt_ms: float | None = None
    decode_ms: float | None = None
    asked_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float = 0.0
    finish_reasons: tuple[str, ...] = ()
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    cache: str | None = None
    excerpt: BodyExcerpt | None = None
    measure_of: Callable[[str], Measure] | None = None
    cancel: Callable[[LocalserveError], None] | None = None
    _between: Measure = _nobody_measures
    _last_piece: float = 0.0
    _before: tuple[int, int] | None = None

    def ask(self, request: Question, default: str, *, stream: bool = False) -> None:
        """The request is understood, and a model will be asked: `default`, if it names none."""
        self.operation = _OPERATIONS.get(type(request))
        self.model = request.model or default
        self.generation = getattr(request, "generation", None)
        self.stream = stream
        self.asked_ms = self._elapsed_ms()

    def set_header(self, name: bytes, value: bytes) -> None:
        """Let this header go out with the response; what was said under that name is replaced."""
        self.headers[:] = [one for one in self.headers if one[0] != name]
        self.headers.append((name, value))

    def kept(self, outcome: str) -> None:
        """What the response cache had for it: `hit`, `miss` or `bypass`; the response says so."""
        self.cache, self._before = outcome, None
        self.set_header(CACHE_HEADER, outcome.encode())

    def take_over(self, left: RequestRecord) -> None:
        """The answer is computed for this request from now on: `left`, for which it was, is over
        and uses what was observed there; this one uses the rest."""
        self._before = left._reached

    def leased(self) -> None:
        """The model is there."""
        self.lease_ms = self._elapsed_ms() - (self.asked_ms or 0.0)

    def observe(self, events: Iterable[ChatEvent]) -> None:
        """Take from the events of the answer what is told of them, all of one hand-over at once."""
        pieces = self.answer_pieces
        for event in events:
            match event:
                case TextDelta(choice, text) | ReasoningDelta(choice, text):
                    self.answer_pieces += 1
                    if self.excerpt is not None:
                        self.excerpt.answered(choice, text)
                case (
                    ToolCallBegun(choice=choice, name=text)
                    | ArgumentsDelta(choice=choice, text=text)
                ):
                    self.answer_pieces += 1
                    if self.excerpt is not None:
                        self.excerpt.answered(choice, text)
                case Accepted():
                    self.prompt_tokens = event.prompt_tokens
                    self.answers(event.model)
                case Finished():
                    if event.reason not in self.finish_reasons:
                        self.finish_reasons += (event.reason,)
                case Completed(usage, timings):
                    self.prompt_tokens = usage.prompt_tokens
                    self.cached_tokens = usage.cached_tokens
                    self.completion_tokens = usage.completion_tokens
                    if self.cache == "hit":
                        continue  # its times are another request's
                    self.tokens_per_second = timings.tokens_per_second
                    self.queue_ms, self.prompt_ms = timings.queue_ms, timings.prompt_ms
                    self.decode_ms = timings.answer_ms
        if self.answer_pieces > pieces:
            self._note_pieces()

    def _note_pieces(self) -> None:
        now = time.monotonic()
        if self.first_token_ms is None:
            self.first_token_ms = (now - self.started) * 1000
        else:
            self._between(now - self._last_piece)
        self._last_piece = now

    def answers(self, model: str) -> None:
        """This model answers the request."""
        self.model = self.served_by = model
        if self.measure_of is not None:
            self._between = self.measure_of(model)

    @property
    def is_computed(self) -> bool:
        """Whether the answer was computed for this request, from the beginning or from where
        another left it; else it was kept, or another's."""
        return self.cache != "hit" or self._before is not None

    @property
    def tokens_used(self) -> int:
        """Of the prompt and of what was answered; of an answer that was cut off its pieces. What
        was not computed for this request uses none."""
        return self.prompt_tokens_used + self.answer_tokens_used

    @property
    def prompt_tokens_used(self) -> int:
        """Of the tokens used, those of the prompt."""
        return self._reached[0] - (self._before or (0, 0))[0] if self.is_computed else 0

    @property
    def answer_tokens_used(self) -> int:
        """Of the tokens used, those of the answer."""
        return self._reached[1] - (self._before or (0, 0))[1] if self.is_computed else 0

    @property
    def _reached(self) -> tuple[int, int]:
        """How much of prompt and answer was used, by this request and by those that left it."""
        prompt, answer = self._before or (0, 0)
        own = self.answer_pieces if self.completion_tokens is None else self.completion_tokens
        return max(prompt, self.prompt_tokens or 0), max(answer, own)

    def end(self) -> None:
        """The response is out, or the client gone."""
        self.cancel = None
        self.total_ms = self._elapsed_ms()

    def _elapsed_ms(self) -> float:
        return (time.monotonic() - self.started) * 1000


OnRequest = Callable[[RequestRecord], None]
"""Called once for every request, before it is begun or after its end."""


class Recorded:
    """Gives every request an id and a record, and every response the header `x-request-id`.

    `on_begin` may add to the record of a request that is about to be answered.
    """

    def __init__(
        self, app: ASGIApp, on_request: OnRequest, on_begin: OnRequest = lambda record: None
    ) -> None:
        self.app = app
        self.on_request = on_request
        self.on_begin = on_begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        record = RequestRecord(_request_id(scope), scope["method"], scope["path"])
        scope[_KEY] = record
        self.on_begin(record)
        header = (b"x-request-id", record.request_id.encode())

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {
                    **message,
                    "headers": [*message.get("headers", ()), header, *record.headers],
                }
            await send(message)

        async def receive_recorded() -> Message:
            message = await receive()
            if message["type"] == "http.request" and record.excerpt is not None:
                record.excerpt.asked(message.get("body", b""))
            return message

        with answering(record.request_id):
            try:
                await self.app(
                    scope, receive if record.excerpt is None else receive_recorded, send_recorded
                )
            finally:
                record.end()
                self.on_request(record)


class RouteNoted:
    """Tells the record which route it was. Innermost: the router tells it in the scope itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        finally:
            if (route := scope.get("route")) is not None:
                record_of(scope).route = route.path.removeprefix("/v1") or "/"


def record_of(scope: Scope) -> RequestRecord:
    """The record of the request that is being answered."""
    record = scope[_KEY]
    assert isinstance(record, RequestRecord)
    return record


def _request_id(scope: Scope) -> str:
    """The client's own id if it is short and printable, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return str(value.decode())
    return new_request_id()


def new_request_id() -> str:
    """An id that no other request has."""
    return f"req-{uuid4().hex}"
