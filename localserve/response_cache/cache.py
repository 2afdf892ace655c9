"""Answers by their questions: in memory, in a store behind it, or under way for somebody else.

A store that fails is left alone for a while, which is logged once until it works again; answers go
on without it. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar

from localserve.errors import CacheFailed
from localserve.response_cache import flight as flights
from localserve.response_cache.flight import Flight
from localserve.response_cache.memory import Entry, MemoryEntries
from localserve.response_cache.question import Key
from localserve.response_cache.store import Store, StoreFigures
from localserve.response_cache.value import MOST_BYTES, Damaged, Item, decode, encode, tokens_of

log = logging.getLogger(__name__)

Outcome = Literal["hit", "miss", "bypass"]

STORE_SECONDS: Final = 0.5
"""A store has so long to find an answer; then it counts as broken."""

PAUSE_SECONDS: Final = 5.0
"""A broken store is not asked for so long."""

CLOSE_SECONDS: Final = 5.0
"""So long the last answers may take to be written when the server ends."""

DECODED_AT_ONCE_BYTES: Final = 64 << 10
"""Larger answers are taken apart in a worker."""

T = TypeVar("T")

Keep = Callable[[Sequence[Item]], Awaitable[float | None]]
"""Until when an answer may be given again, in seconds since the epoch; None: it may not."""


@dataclass(slots=True)
class Figures:
    """What came of requests, and the tokens that were not computed again for hits."""

    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    saved_tokens: int = 0

    def count(self, outcome: Outcome) -> None:
        match outcome:
            case "hit":
                self.hits += 1
            case "miss":
                self.misses += 1
            case "bypass":
                self.bypasses += 1


class Asker(flights.Asker, Protocol):
    """Who asks for an answer, and hears before its first item what came of that."""

    def told(self, outcome: Outcome) -> None: ...


class ResponseCache:
    """All answers of one server. `clock` gives seconds since the epoch."""

    def __init__(
        self, store: Store, memory_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.figures = Figures()
        self._store = store
        self._memory = MemoryEntries(memory_bytes)
        self._clock = clock
        self._flights: dict[Key, Flight[Item, Asker]] = {}
        self._saving: set[asyncio.Task[None]] = set()
        self._purges = 0
        self._broken = False
        self._asked_again_at = 0.0

    @property
    def memory_entries(self) -> MemoryEntries:
        """To look at."""
        return self._memory

    @property
    def store_name(self) -> str:
        return self._store.name

    @property
    def store_figures(self) -> StoreFigures | None:
        """None where the store does not tell."""
        return self._store.figures()

    @property
    def store_works(self) -> bool:
        """Whether the store did what it was asked for last."""
        return not self._broken

    async def answer(
        self,
        key: Key,
        compute: Callable[[], AsyncGenerator[Item, None]],
        keep: Keep,
        asker: Asker,
        *,
        similar: Key | None = None,
        anew: bool = False,
    ) -> AsyncGenerator[Item, None]:
        """The items of the answer, kept or computed. Raises: what `compute` raises.

        What is kept under `similar` does, too, where nothing is under `key`. With `anew` it is
        computed whatever is kept, and takes that one's place.
        """
        kept = None if anew else await self._find(key)
        if kept is None and similar is not None:
            kept = await self._find(similar)
        if kept is not None:
            self._note("hit", asker)
            self.figures.saved_tokens += tokens_of(kept)
            for item in kept:
                yield item
            return
        flight = None if anew else self._flights.get(key)
        self._note("miss" if flight is None else "hit", asker)
        if flight is None:
            flight = self._begin(key, compute(), keep, share=not anew)
        async with aclosing(flight.follow(asker)) as items:
            async for item in items:
                yield item
        if flight.payer is not asker:
            self.figures.saved_tokens += tokens_of(flight.items)

    async def holds(self, key: Key) -> bool:
        """Whether there is an answer, or one is under way."""
        return key in self._flights or await self._find(key) is not None

    async def purge(self, model: str | None) -> int:
        """Forget all answers, or those of a model; how many there were.

        Those under way go on for who waits for them, but nobody else gets them and none is kept.

        Raises: CacheFailed, after which none in memory is left.
        """
        self._purges += 1
        for key in [key for key in self._flights if model is None or key.model == model]:
            del self._flights[key]
        in_memory = self._memory.purge(model)
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                return max(in_memory, await self._store.purge(model))
        except Exception as error:  # whatever a broken one makes of its library
            raise CacheFailed(
                f"The kept answers in {self._store.place} could not be forgotten: {_why(error)}.",
                retry_after_seconds=30,
                hint="Those in memory are. Mend the store, or delete its file, then try again.",
            ) from error

    async def close(self) -> None:
        """Write what is to be written, and let go of the store."""
        if self._saving:
            await asyncio.wait(self._saving, timeout=CLOSE_SECONDS)
        await self._guarded(self._store.close(), None)

    def _note(self, outcome: Outcome, asker: Asker) -> None:
        self.figures.count(outcome)
        asker.told(outcome)

    # Finding

    async def _find(self, key: Key) -> list[Item] | None:
        value = self._memory.get(key, self._clock())
        if value is None and key not in self._flights:
            purges = self._purges
            entry = await self._look(key)
            value = self._memory.get(key, self._clock())  # it may have come meanwhile
            if value is None and entry is not None and purges == self._purges:
                value = entry.value
                self._memory.put(key, value, entry.expires_at)
        if value is None:
            return None
        try:
            if len(value) > DECODED_AT_ONCE_BYTES:
                return await asyncio.to_thread(decode, value)
            return decode(value)
        except Damaged:
            log.warning("A kept answer of %r is damaged and is computed again.", key.model)
            self._memory.drop(key)
            return None

    async def _look(self, key: Key) -> Entry | None:
        if time.monotonic() < self._asked_again_at:
            return None
        return await self._guarded(self._store.get(key, self._clock()), None)

    # Keeping

    def _begin(
        self, key: Key, source: AsyncGenerator[Item, None], keep: Keep, *, share: bool
    ) -> Flight[Item, Asker]:
        purges = self._purges

        def over(flight: Flight[Item, Asker]) -> None:
            if flight.failed:
                self._land(key, flight)
                return
            saving = asyncio.create_task(self._save(key, flight, keep, purges), name="keep answer")
            self._saving.add(saving)
            saving.add_done_callback(self._saving.discard)

        flight = Flight(source, over)
        if share:
            self._flights[key] = flight
        return flight

    async def _save(self, key: Key, flight: Flight[Item, Asker], keep: Keep, purges: int) -> None:
        """Until it lies in memory, whoever asks gets the answer from the flight."""
        try:
            expires_at = await keep(flight.items)
            if expires_at is None:
                return
            value = await asyncio.to_thread(encode, flight.items)
            if len(value) > MOST_BYTES or purges != self._purges:
                return
            self._memory.put(key, value, expires_at)
        except Exception:
            log.exception("An answer of %r is not kept.", key.model)
            return
        finally:
            self._land(key, flight)
        if time.monotonic() >= self._asked_again_at:
            await self._guarded(self._store.put(key, Entry(value, expires_at), self._clock()), None)

    def _land(self, key: Key, flight: Flight[Item, Asker]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    # The store

    async def _guarded(self, work: Coroutine[Any, Any, T], otherwise: T) -> T:
        try:
            async with asyncio.timeout(STORE_SECONDS):
                result = await work
        except Exception as error:  # whatever a broken one makes of its library: answers go on
            self._asked_again_at = time.monotonic() + PAUSE_SECONDS
            if not self._broken:
                self._broken = True
                log.warning(
                    "Kept answers are in memory alone until %s works again: %s",
                    self._store.place,
                    _why(error),
                )
            return otherwise
        if self._broken:
            self._broken = False
            log.info("Answers are kept in %s again.", self._store.place)
        return result


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
