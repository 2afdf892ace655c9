"""One answer that is computed once, for all who ask for it meanwhile. Lives on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

from localserve.errors import EngineFailed

T = TypeVar("T")


class Flight(Generic[T]):
    """Takes from `source` in a task of its own, which ends early only when nobody follows any more.

    `on_over` is called once, in the step in which that is decided: `failed` says whether there is a
    whole answer in `items`.
    """

    def __init__(
        self, source: AsyncGenerator[T, None], on_over: Callable[[Flight[T]], None]
    ) -> None:
        self.items: list[T] = []
        self._source = source
        self._on_over = on_over
        self._failure: Exception | None = None
        self._over = False
        self._followers = 0
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="shared answer")

    @property
    def failed(self) -> bool:
        return self._failure is not None

    async def follow(self) -> AsyncGenerator[T, None]:
        """All items from the first on, as they come. Raises: what the source raises, at the end."""
        self._followers += 1
        taken = 0
        try:
            while True:
                while taken < len(self.items):
                    taken += 1
                    yield self.items[taken - 1]
                if self._over:
                    break
                await self._news.wait()
            if self._failure is not None:
                raise self._failure
        finally:
            self._followers -= 1
            if not self._followers and not self._over:
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
