"""A question put to one model, or to those of a route until one begins to answer.

What a model says before its first token (that the prompt is counted, how far it is) is held back as
long as another may take its place; behind the first token there is no going back. Knows nothing of
HTTP and of wire formats. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeVar

from localserve.chat import Accepted, ChatEvent, Completed, Finished, PromptProgress
from localserve.errors import (
    ContextOverflow,
    LocalserveError,
    MemoryBusy,
    ModelLoading,
    ModelUnusable,
    NotSupported,
    Overloaded,
    TimedOut,
    Unavailable,
    UnknownModel,
    WrongTask,
)
from localserve.manager import Lease, ModelManager
from localserve.routing.choose import Decision
from localserve.routing.measured import Measured
from localserve.server.records import RequestRecord

HEADER: Final = b"x-localserve-route"
"""The route of a request: which models were asked, and why the last one."""

Ask = Callable[[Lease], AsyncGenerator[ChatEvent, None]]
"""Starts the answer on the backend that is leased."""

Result = TypeVar("Result")

_REASONS: Final[tuple[tuple[type[LocalserveError], str], ...]] = (
    (ContextOverflow, "context"),
    (WrongTask, "task"),
    (NotSupported, "task"),
    (UnknownModel, "unknown"),
    (Overloaded, "queue"),
    (TimedOut, "timeout"),
    (ModelUnusable, "load"),
    (ModelLoading, "load"),
    (MemoryBusy, "load"),
    (Unavailable, "failed"),
)
"""What another model may do better, in one word. Any other error is the request's own."""

_OWN_FAULTS: Final = frozenset({"timeout", "load", "failed"})
"""What lets a model rest: the next request would meet the same."""


def reason_of(error: LocalserveError) -> str | None:
    """Why another model is asked after this error; None where that would be of no use."""
    return next((word for kind, word in _REASONS if isinstance(error, kind)), None)


class Way:
    """How one request goes through its route: the models that were asked, and the next one."""

    def __init__(self, decision: Decision, record: RequestRecord, measured: Measured) -> None:
        """`decision` names one model at least."""
        self._decision = decision
        self._record = record
        self._measured = measured
        self._at = -1

    @property
    def first_token_seconds(self) -> float | None:
        """How long each model has to begin."""
        return self._decision.route.first_token_seconds

    @property
    def holds_back(self) -> bool:
        """Whether the model that is asked may still be given up for another one."""
        return self._at + 1 < len(self._decision.order) or self.first_token_seconds is not None

    @property
    def fell_back(self) -> bool:
        """Whether a model was given up."""
        return bool(self._record.given_up)

    def next(self) -> str:
        """The next model to be asked; the record and the headers say so."""
        self._at += 1
        record = self._record
        record.model_route = str(self)
        record.set_header(HEADER, record.model_route.encode("ascii", "backslashreplace"))
        return self._decision.order[self._at].model

    def give_up(self, error: LocalserveError) -> None:
        """Go on after `error`. Raises: `error`, where nobody is left or it is the request's."""
        reason = reason_of(error)
        if reason is None:
            raise error
        choice = self._decision.order[self._at]
        if reason in _OWN_FAULTS:
            self._measured.failed(choice.model)
        if self._at + 1 >= len(self._decision.order):
            raise error
        self._record.given_up += ((choice.model, reason),)

    def __str__(self) -> str:
        """`auto -> small (context) -> large: complexity 0.12 <= 1.00`"""
        choice = self._decision.order[max(0, self._at)]
        lacks = f", {'+'.join(choice.lacks)}" if choice.lacks else ""
        given_up = [f"{model} ({reason})" for model, reason in self._record.given_up]
        steps = " -> ".join((self._decision.route.name, *given_up, choice.model))
        return f"{steps}: {choice.why}{lacks}"


async def leased(
    manager: ModelManager,
    model: str,
    ask: Ask,
    *,
    keep_alive_seconds: float | None = None,
    measured: Measured | None = None,
) -> AsyncGenerator[ChatEvent, None]:
    """The answer of one model, which is held as long as that takes. Raises: as `lease` and `ask`.

    How long the first token took is told to `measured`.
    """
    began = time.monotonic()
    async with (
        manager.lease(model, keep_alive_seconds=keep_alive_seconds) as lease,
        aclosing(ask(lease)) as events,
    ):
        async for event in events:
            if measured is not None and _is_said(event):
                measured.answered(lease.backend.facts.name, time.monotonic() - began)
                measured = None
            yield event


async def along(
    way: Way, ask_model: Callable[[str], AsyncGenerator[ChatEvent, None]]
) -> AsyncGenerator[ChatEvent, None]:
    """The answer of the first model of a route that begins to answer. Raises: what the last raises.

    Where it is not the first that was asked, the last events have the route.
    """
    while True:
        async with aclosing(ask_model(way.next())) as events:
            try:
                held = await _begin(events, way)
            except LocalserveError as error:
                way.give_up(error)
                continue
            for event in held:
                yield _told(event, way)
            async for event in events:
                yield _told(event, way)
            return


async def first_answer(way: Way, ask_model: Callable[[str], Awaitable[Result]]) -> Result:
    """What the first model of a route answers that can. Raises: what the last raises."""
    while True:
        model = way.next()
        try:
            async with asyncio.timeout(way.first_token_seconds):
                return await ask_model(model)
        except TimeoutError:
            way.give_up(_too_late(way))
        except LocalserveError as error:
            way.give_up(error)


async def _begin(events: AsyncGenerator[ChatEvent, None], way: Way) -> list[ChatEvent]:
    """The events up to the first that says something. Raises: TimedOut; as the model."""
    if not way.holds_back:
        return []
    held = []
    try:
        async with asyncio.timeout(way.first_token_seconds):
            async for event in events:
                held.append(event)
                if _is_said(event):
                    break
    except TimeoutError:
        raise _too_late(way) from None
    return held


def _too_late(way: Way) -> TimedOut:
    return TimedOut(f"The model had said nothing within {way.first_token_seconds or 0:g} s.")


def _is_said(event: ChatEvent) -> bool:
    return not isinstance(event, Accepted | PromptProgress)


def _told(event: ChatEvent, way: Way) -> ChatEvent:
    if way.fell_back and isinstance(event, Finished | Completed):
        return replace(event, route=str(way))
    return event
