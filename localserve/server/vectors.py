"""What is answered at once and as a whole: embeddings, reranking, tokens and their counts.

Lives on the event loop; large answers are written in a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from localserve.backends.base import Backend
from localserve.chat import EmbeddingAnswer, EmbeddingRequest, RerankAnswer, RerankRequest
from localserve.config import Settings
from localserve.dialects.openai import parse_embedding, parse_rerank
from localserve.errors import TimedOut
from localserve.gateway.metered import expected_tokens, meter_of
from localserve.manager import ModelManager
from localserve.server.asking import AskingEndpoint, Named, told
from localserve.server.attempts import Way, first_answer
from localserve.server.caching import kept_vectors
from localserve.server.errors import shutting_down
from localserve.server.feed import ClientLeft
from localserve.server.records import record_of

RENDER_AT_ONCE = 8
"""So many vectors are made into JSON in about a millisecond; more are in a worker."""


class Counted(Protocol):
    """An answer, for which the model saw so many tokens (None: that is not known)."""

    @property
    def model(self) -> str: ...

    @property
    def prompt_tokens(self) -> int | None: ...


Result = TypeVar("Result")
Question = TypeVar("Question", bound=Named)
Answer = TypeVar("Answer", bound=Counted)
Asking = TypeVar("Asking", covariant=True)
Answering = TypeVar("Answering", contravariant=True)


class Asked(Protocol[Asking, Answering]):
    """What a body asks for, and how its answer is written."""

    @property
    def request(self) -> Asking: ...

    def render(self, answer: Answering) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Exchange(Generic[Question, Answer]):
    """One kind of question. `parse` raises InvalidRequest; `size` counts what an answer has. What
    `computes` nothing with the model costs no tokens."""

    parse: Callable[[bytes], Asked[Question, Answer]]
    ask: Callable[[Backend, Question], Awaitable[Answer]]
    size: Callable[[Question], int]
    computes: bool = True


EMBEDDING: Exchange[EmbeddingRequest, EmbeddingAnswer] = Exchange(
    parse_embedding,
    lambda backend, request: backend.embed(request),
    lambda request: len(request.inputs),
)
RERANK: Exchange[RerankRequest, RerankAnswer] = Exchange(
    parse_rerank,
    lambda backend, request: backend.rerank(request),
    lambda request: len(request.documents),
)


class AtOnceEndpoint(AskingEndpoint[Asked[Question, Answer]], Generic[Question, Answer]):
    """Answers the questions of one exchange."""

    def __init__(
        self, exchange: Exchange[Question, Answer], manager: ModelManager, settings: Settings
    ) -> None:
        super().__init__(exchange.parse, manager, settings)
        self._exchange = exchange

    async def _respond(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        asked: Asked[Question, Answer],
        way: Way | None,
        body_bytes: int,
    ) -> None:
        record, meter = record_of(scope), meter_of(scope)
        record.model = asked.request.model or self._manager.spec.name
        expected, used = expected_tokens(body_bytes, max_tokens=0, choices=1), 0
        if self._exchange.computes:
            record.ask(asked.request, self._manager.spec.name)
            await meter.reserve_tokens(expected)
        try:
            answer = await while_wanted(self._ask(scope, asked.request, way), receive)
            record.model, record.prompt_tokens = answer.model, answer.prompt_tokens
            if self._exchange.computes:
                record.answers(answer.model)
            used = record.tokens_used
        except ClientLeft:
            used = expected  # nobody counted what was computed: leaving must not make it free
            raise
        finally:
            await meter.settle_tokens(used)
        small = self._exchange.size(asked.request) <= RENDER_AT_ONCE
        rendered = asked.render(answer) if small else await asyncio.to_thread(asked.render, answer)
        await Response(rendered, media_type="application/json")(scope, receive, send)

    async def _ask(self, scope: Scope, request: Question, way: Way | None) -> Answer:
        """Raises: TimedOut, and as the models."""
        seconds = self._settings.request_seconds or None
        try:
            async with asyncio.timeout(seconds):
                if way is None:
                    return await self._ask_once(scope, request.model, request)
                return await first_answer(way, lambda model: self._ask_once(scope, model, request))
        except TimeoutError:
            raise TimedOut(f"The answer was not complete within {seconds or 0:g} s.") from None

    async def _ask_once(self, scope: Scope, model: str, request: Question) -> Answer:
        """What is kept of a model's answer, else the answer."""
        if not isinstance(request, EmbeddingRequest):
            return await self._ask_model(scope, model, request)
        asked = replace(request, model=model)
        return await kept_vectors(  # type: ignore[return-value]  # a question's own kind of answer
            scope, asked, lambda: self._ask_model(scope, model, request)
        )

    async def _ask_model(self, scope: Scope, model: str, request: Question) -> Answer:
        async with self._manager.lease(model) as lease:
            return await self._exchange.ask(told(scope, lease), request)


async def while_wanted(work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
    """The result of `work`, which is cancelled when the client leaves.

    Raises: ClientLeft; Unavailable, where the server ends first; what the work raises.
    """
    working = asyncio.create_task(work, name="answer")
    watching = asyncio.create_task(_left(receive), name="watch the client")
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        raise shutting_down() from None
    finally:
        left = not working.done()
        working.cancel()
        watching.cancel()
        await asyncio.wait({working, watching})
        if left and not working.cancelled():
            working.exception()  # nobody is left to hear of it
    if left:
        raise ClientLeft
    return working.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
