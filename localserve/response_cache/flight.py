"""One answer that is computed once, for all who ask for it meanwhile. Lives on the event loop.

It is computed for the one who asked first. When that one leaves before its end, it is from then on
computed for the next who is still there, so that somebody always answers for what it costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, Protocol, TypeVar

from localserve.errors import EngineFailed

T = TypeVar("T")


class Asker(Protocol):
    """Who asks for an answer. Told apart by identity."""

    def take_over(self, left: Asker) -> None:
        """The answer is computed for this one from now on, instead of for `left`, who left."""
        ...


A = TypeVar("A", bound=Asker)


class Flight(Generic[T, A]):
    """Takes from `source` in a task of its own, which ends early only when nobody follows any more.

    `on_over` is called once, in the step in which that is decided: `failed` says whether there is a
    whole answer in `items`. `payer` is whom it is computed for: the first, or who took over.
    """

    def __init__(
        self, source: AsyncGenerator[T, None], on_over: Callable[[Flight[T, A]], None]
    ) -> None:
        self.items: list[T] = []
        self.payer: A | None = None
        self._source = source
        self._on_over = on_over
        self._failure: Exception | None = None
        self._over = False
        self._followers: dict[int, A] = {}
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="shared answer")

    @property
    def failed(self) -> bool:
        return self._failure is not None

    async def follow(self, asker: A) -> AsyncGenerator[T, None]:
        """All items from the first on, as they come. Raises: what the source raises, at the end."""
        if self.payer is None:
            self.payer = asker
        self._followers[id(asker)] = asker
        taken, stayed = 0, False
        try:
            while True:
                while taken < len(self.items):
                    taken += 1
                    yield self.items[taken - 1]
                if self._over:
                    break
                await self._news.wait()
            stayed = True
            if self._failure is not None:
                raise self._failure
        finally:
            del self._followers[id(asker)]
            if self._followers:
                if asker is self.payer and not stayed:
                    self.payer = next(iter(self._followers.values()))
                    self.payer.take_over(asker)
            elif not self._over:
                self._end(EngineFailed("Nobody waits for the answer any more."))
                self._task.cancel()
                await asyncio.wait([self._task])

    async def _run(self) -> None:
        failure: Exception | None = EngineFailed("The answer ended before it was complete.")
        try:
            async with aclosing(self._source) as items:
                async for item in items:
                    self.items.append(item)
                    self._tell()
            failure = None
        except Exception as error:
            failure = error
        finally:
            self._end(failure)

    def _end(self, failure: Exception | None) -> None:
        if not self._over:
            self._over, self._failure = True, failure
            self._tell()
            self._on_over(self)

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()
