"""Which kept prefixes go to disk, and when: what is idle, about to be dropped, or left at the end.

Where cells in use slow all steps down, what is on disk leaves the cells to those that come while
nothing runs: it comes back in far less time than it was computed in.

The engine's thread only copies states out of the memory, piece by piece: while it has nothing else
to do, or within a small part of a step. Lives on that thread; `shelf.py` writes elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final

from localserve.engine.cache import WORTH_SHARING, PrefixCache, Source
from localserve.engine.disk.record import Part, Payload, Record
from localserve.engine.disk.shelf import LARGEST_BYTES, Shelf
from localserve.engine.prefixes import TokenArray
from localserve.engine.runner import Memory

WORTH_WRITING: Final = 256
"""A shorter prefix is sooner computed than its file is worth keeping."""

WORTH_WRITING_CROWDED: Final = 64
"""The same where it could not leave the cells otherwise."""

IDLE_SECONDS: Final = 30.0
"""A prefix that nobody went on with for so long is written; one that grows with every turn is not
written with every turn."""

IDLE_SECONDS_CROWDED: Final = 5.0
"""The same where it is in the way of the next answer."""

PIECE_TOKENS: Final = 256
"""Of one record. What conversations have in common is shared up to here, and is read whole."""

PIECE_BYTES: Final = 32 << 20
"""A copy of so much takes about a hundredth of a second; large models have fewer tokens in it."""

LEAST_TOKENS: Final = 32
"""A shorter end of a prefix is computed again."""

FULL_QUEUE_SECONDS: Final = 0.05
"""How soon to look again whether the disk has caught up."""

LONGEST_SHARE: Final = 0.5
"""Of the budget, for one prefix: it would push its own beginning out."""


class Outcome(Enum):
    """What became of a piece."""

    TAKEN = auto()
    LATER = auto()
    SETTLED = auto()


class Saver:
    """Hands what the slots of `cache` hold to the shelf."""

    def __init__(
        self,
        cache: PrefixCache,
        memory: Memory,
        shelf: Shelf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._memory = memory
        self._shelf = shelf
        self._clock = clock
        self._settled: dict[int, tuple[float, int]] = {}
        self._touched: dict[int, tuple[float, int]] = {}
        self._piece_tokens: int | None = None
        self._seconds_left = 0.0
        self._most_bytes = LARGEST_BYTES
        self._queue_is_full = False

    # While nothing is computed

    def due_seconds(self) -> float | None:
        """How long until there is something to write; None where there is nothing."""
        due = [self._due_at(slot) for slot in self._cache.kept if self._is_open(slot)]
        if not due or not self._shelf.works:
            return None
        waits = max(0.0, min(due) - self._clock())
        return max(waits, FULL_QUEUE_SECONDS) if self._queue_is_full else waits

    def save_some(self) -> None:
        """Write a piece of a prefix that has been idle, if there is one."""
        now = self._clock()
        due = [slot for slot in self._cache.kept if self._is_open(slot)]
        due = [slot for slot in due if self._due_at(slot) <= now]
        if due:
            self._most_bytes = LARGEST_BYTES
            outcome = self._save_piece(min(due, key=self._due_at))
            self._queue_is_full = outcome is Outcome.LATER

    def _due_at(self, slot: int) -> float:
        idle = IDLE_SECONDS_CROWDED if self._memory.crowding_slows else IDLE_SECONDS
        return self._cache.kept.used(slot) + idle

    # While others wait for the thread

    def begin_step(self, seconds: float, *, answering: bool) -> None:
        """`spill` may take so long in this step; while answers run, only for small pieces."""
        self._seconds_left = seconds
        self._most_bytes = PIECE_BYTES if answering else LARGEST_BYTES

    def spill(self, slot: int) -> None:
        """Write what there is time for of a kept prefix that is about to be lost."""
        while self._seconds_left > 0 and self._is_open(slot):
            began = self._clock()
            outcome = self._save_piece(slot)
            self._seconds_left -= self._clock() - began
            if outcome is Outcome.LATER:
                self._seconds_left = 0.0  # nor would it take another one's

    def set_aside(self, seconds: float, sources: Iterable[Source | None]) -> None:
        """Leave the cells to sequences that begin with `sources`: all else that is written, or can
        be within so long, goes."""
        stay: dict[int, int] = {}
        for source in filter(None, sources):
            if source.length >= WORTH_SHARING:
                stay[source.slot] = max(source.length, stay.get(source.slot, 0))
        self._seconds_left = min(self._seconds_left, seconds)
        for slot in list(self._cache.kept):
            self.spill(slot)
            if self._settled.get(slot) == self._mark(slot) and self._is_written(slot):
                self._cache.shrink(slot, stay.get(slot, 0))

    # At the end

    def flush(self, seconds: float) -> None:
        """Write what is kept, the most valuable first, for so long at most."""
        deadline = self._clock() + seconds
        self._most_bytes = LARGEST_BYTES
        tree, now = self._cache.tree, self._clock()
        for slot in self._cache.kept.most_valuable_first(tree.length, now):
            while self._is_open(slot):
                left = deadline - self._clock()
                if left <= 0:
                    return
                outcome = self._save_piece(slot)
                if outcome is Outcome.LATER and not self._shelf.wait_for_room(left):
                    return

    # A piece

    def _mark(self, slot: int) -> tuple[float, int]:
        return self._cache.kept.used(slot), self._cache.tree.length(slot)

    def _is_open(self, slot: int) -> bool:
        """Whether there may be something to write of a kept prefix."""
        mark = self._mark(slot)
        worth = WORTH_WRITING_CROWDED if self._memory.crowding_slows else WORTH_WRITING
        return mark[1] >= worth and self._settled.get(slot) != mark

    def _is_written(self, slot: int) -> bool:
        """Whether a kept prefix is on disk, or on its way, but for an end not worth a record."""
        tree = self._cache.tree
        found = self._shelf.find(tree.scope(slot), tree.tokens(slot))
        return found is not None and tree.length(slot) - found.held < LEAST_TOKENS

    def _save_piece(self, slot: int) -> Outcome:
        tree = self._cache.tree
        scope, tokens = tree.scope(slot), tree.tokens(slot)
        if self._memory.saves:
            outcome = self._save_whole(slot, scope, tokens)
        else:
            outcome = self._save_next(slot, scope, tokens)
        if outcome is Outcome.SETTLED:
            self._settled[slot] = self._mark(slot)
        return outcome

    def _save_next(self, slot: int, scope: str, tokens: TokenArray) -> Outcome:
        """One more record behind those that there are of these tokens."""
        found = self._shelf.find(scope, tokens)
        if found is not None and len(tokens) - found.held < LEAST_TOKENS:
            self._shelf.touch(found.records)
            return Outcome.SETTLED
        parent, before = self._shelf.follow(scope, tokens)
        start = before[-1].end if before else 0
        longest = self._shelf.limit_bytes * LONGEST_SHARE
        if sum(record.file_bytes for record in before) > longest:
            self._shelf.touch(before)
            return Outcome.SETTLED
        if self._touched.get(slot) != self._mark(slot):
            self._touched[slot] = self._mark(slot)
            self._shelf.touch(before)
        end = start + min(len(tokens) - start, self._tokens_of_a_piece(slot, start, len(tokens)))
        size = self._memory.copy_bytes(slot, start, end)
        if (refusal := self._refusal(size)) is not None:
            return refusal
        state = self._memory.copy_out(slot, start, end)
        if state is None:
            return Outcome.SETTLED
        part = Part(end, len(state))
        record = Record(parent, start, tokens[start:end], (part,))
        return self._hand_over(record, [state])

    def _tokens_of_a_piece(self, slot: int, start: int, end: int) -> int:
        if self._piece_tokens is None:
            count = min(end - start, PIECE_TOKENS)
            size = self._memory.copy_bytes(slot, start, start + count)
            fitting = count * PIECE_BYTES // max(1, size)
            self._piece_tokens = max(LEAST_TOKENS, min(PIECE_TOKENS, fitting))
        return self._piece_tokens

    def _save_whole(self, slot: int, scope: str, tokens: TokenArray) -> Outcome:
        """All of a sequence that cannot be cut, with its checkpoints, those of the longest
        beginnings first, as far as there is room."""
        parent, _ = self._shelf.follow(scope, tokens[:0])
        record = Record(parent, 0, tokens, ())
        if record.key in self._shelf:
            self._shelf.touch([record])
            return Outcome.SETTLED
        size = self._memory.copy_bytes(slot, 0, len(tokens))
        if (refusal := self._refusal(size)) is not None:
            return refusal
        state = self._memory.copy_out(slot, 0, len(tokens))
        if state is None:
            return Outcome.SETTLED
        parts, payloads = [Part(len(tokens), len(state))], [state]
        states = self._cache.tree.states_of(slot)
        for length in sorted(states, reverse=True):
            data = states[length].state.data
            if length < len(tokens) and size + len(data) <= self._shelf.largest_bytes:
                size += len(data)
                parts.append(Part(length, len(data)))
                payloads.append(data)
        return self._hand_over(Record(parent, 0, tokens, tuple(parts)), payloads)

    def _refusal(self, size: int) -> Outcome | None:
        """Why a record of so many bytes is not written now, or never."""
        if not size or size > self._shelf.largest_bytes:
            return Outcome.SETTLED
        if size > self._most_bytes or not self._shelf.takes(size):
            return Outcome.LATER
        return None

    def _hand_over(self, record: Record, payloads: list[Payload]) -> Outcome:
        return Outcome.TAKEN if self._shelf.write(record, payloads) else Outcome.LATER
