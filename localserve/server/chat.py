"""The one endpoint that answers with text, given what a dialect parses and renders.

Lives on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar, assert_never

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from localserve.backends.base import Backend
from localserve.chat import ChatEvent, ChatRequest, Completed, CompletionRequest, InfillRequest
from localserve.config import Settings
from localserve.dialects import openai
from localserve.gateway.caller import Caller, caller_of
from localserve.gateway.metered import expected_tokens, meter_of
from localserve.manager import ModelManager
from localserve.server.asking import AskingEndpoint, told
from localserve.server.attempts import Way, along, leased
from localserve.server.caching import kept_events
from localserve.server.feed import Feed, Limits
from localserve.server.keystrokes import Keystrokes
from localserve.server.records import RequestRecord, record_of
from localserve.server.router import router_of
from localserve.server.streaming import Answer, EventStream

Question = ChatRequest | CompletionRequest | InfillRequest


class Asked(Protocol):
    """What a body asks for: `choices` counts the answers."""

    @property
    def request(self) -> Question: ...

    @property
    def choices(self) -> int: ...

    @property
    def stream(self) -> bool: ...


Asking = TypeVar("Asking", bound=Asked)


@dataclass(frozen=True, slots=True)
class Exchange(Generic[Asking]):
    """One kind of question and its kind of answer. `parse` raises InvalidRequest."""

    parse: Callable[[bytes], Asking]
    answer: Callable[[Asking], Answer]


def chat_exchange(fingerprint: str) -> Exchange[openai.Asked[ChatRequest]]:
    """OpenAI's chat; `fingerprint` names what answers."""
    return Exchange(openai.parse_chat, _written_as(openai.ChatAnswer, fingerprint))


def completion_exchange(fingerprint: str) -> Exchange[openai.Asked[CompletionRequest]]:
    """OpenAI's text completions; `fingerprint` names what answers."""
    return Exchange(openai.parse_completion, _written_as(openai.CompletionAnswer, fingerprint))


def _written_as(
    form: type[openai.Answer], fingerprint: str
) -> Callable[[openai.Asked[ChatRequest | CompletionRequest]], Answer]:
    return lambda asked: form(
        choices=asked.choices,
        include_usage=asked.include_usage,
        fingerprint=fingerprint,
        extras=asked.extras,
    )


class AnswerEndpoint(AskingEndpoint[Asking]):
    """Answers the questions of one exchange, at once or as a stream."""

    def __init__(
        self,
        exchange: Exchange[Asking],
        manager: ModelManager,
        settings: Settings,
        *,
        headers_after_seconds: float,
    ) -> None:
        super().__init__(exchange.parse, manager, settings)
        self._exchange = exchange
        self._keystrokes = Keystrokes()
        self._headers_after_seconds = headers_after_seconds

    async def _respond(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        asked: Asking,
        way: Way | None,
        body_bytes: int,
    ) -> None:
        record, meter = record_of(scope), meter_of(scope)
        record.ask(asked.request, self._manager.spec.name, stream=asked.stream)
        await meter.reserve_tokens(self._expected_tokens(asked, body_bytes))
        try:
            await self._answer(scope, receive, send, asked, way)
        finally:
            await meter.settle_tokens(record.tokens_used)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, asked: Asking, way: Way | None
    ) -> None:
        request = _of_caller(asked.request, caller_of(scope))
        answer = self._exchange.answer(asked)

        def compute(model: str) -> AsyncGenerator[ChatEvent, None]:
            return leased(
                self._manager,
                model,
                lambda lease: _begin(told(scope, lease), request),
                keep_alive_seconds=request.keep_alive_seconds,
                measured=router_of(scope).measured,
            )

        def ask(model: str) -> AsyncGenerator[ChatEvent, None]:
            return kept_events(scope, replace(request, model=model), lambda: compute(model))

        source = ask(request.model) if way is None else along(way, ask)
        async with Feed(
            source,
            receive,
            Limits.of(self._settings),
            deadline_seconds=_seconds_left(scope, request.deadline_seconds),
        ) as feed:
            record_of(scope).cancel = feed.end
            with self._keystrokes.under_way(scope, request, feed.end):
                if asked.stream:
                    await EventStream(
                        feed,
                        answer,
                        headers_after_seconds=self._headers_after_seconds,
                        keepalive_seconds=self._settings.keepalive_seconds,
                        after_first_token=request.deadline_seconds is not None,
                    ).run(scope, send)
                    return
                events = await _all_events(feed, record_of(scope))
        response = Response(answer.body(events), media_type="application/json")
        await response(scope, receive, send)

    def _expected_tokens(self, asked: Asking, body_bytes: int) -> int:
        max_tokens = asked.request.generation.max_tokens
        if max_tokens is None:
            max_tokens = self._settings.default_max_tokens
        return expected_tokens(body_bytes, max_tokens, asked.choices)


def _of_caller(request: Question, caller: Caller) -> Question:
    """The request with what the caller's key means for it."""
    priority = caller.priority if request.priority is None else request.priority
    return replace(request, scope=caller.prefix_scope, priority=priority)


def _begin(backend: Backend, request: Question) -> AsyncGenerator[ChatEvent, None]:
    """Starts the answer."""
    match request:
        case ChatRequest():
            return backend.chat(request)
        case CompletionRequest():
            return backend.complete(request)
        case InfillRequest():
            return backend.infill(request)
        case _ as never:
            assert_never(never)


def _seconds_left(scope: Scope, deadline_seconds: float | None) -> float | None:
    """Of a deadline that counts from the request's arrival."""
    if deadline_seconds is None:
        return None
    return max(0.0, record_of(scope).started + deadline_seconds - time.monotonic())


async def _all_events(feed: Feed, record: RequestRecord) -> list[ChatEvent]:
    events: list[ChatEvent] = []
    while not (events and isinstance(events[-1], Completed)):
        news = await feed.next()
        record.observe(news)
        events += news
    return events
