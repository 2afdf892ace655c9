"""Brings back from disk what a new sequence begins with, where that is more than the memory has.

Records are read and checked by the shelf's threads, two ahead; the engine's thread puts what has
arrived into cells, within the time of a step, and there it is a kept prefix like any other. Whoever
waits for it goes on with whatever is there when a record is damaged, gone, late or has no room.
Lives on the engine's thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from localserve.engine.cache import Graft, PrefixCache, wanted_prefix
from localserve.engine.disk.index import Found
from localserve.engine.disk.record import Payload, Record
from localserve.engine.disk.shelf import Shelf
from localserve.engine.pacer import Pacer
from localserve.engine.prefixes import TokenArray
from localserve.engine.runner import Memory, Vocabulary
from localserve.engine.sequence import Sequence

WORTH_READING: Final = 64
"""Fewer tokens are computed."""

READ_AHEAD: Final = 2
"""Records of one prefix that are being read, or wait for their place in the cells."""

MOST_AT_ONCE: Final = 2
"""Prefixes that are being read; others wait their turn, so that what is read is bounded."""

PATIENCE_SECONDS: Final = 10.0
"""A record that takes longer to read is not waited for."""


@dataclass(slots=True, eq=False)
class Restore:
    """A prefix on its way: the first `held` tokens of `tokens`, in `records`, of which `placed` lie
    in the cells. `arrived` waits for its turn."""

    scope: str
    found: Found
    tokens: TokenArray
    records: tuple[Record, ...]
    late_at: float = math.inf
    asked: int = 0
    placed: int = 0
    arrived: dict[int, list[Payload] | None] = field(default_factory=dict)
    done: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """A record was read, or (None) could not be."""

    restore: Restore
    number: int
    payloads: list[Payload] | None


class Restorer:
    """`deliver` is called on other threads; it lets the engine's call `arrive`."""

    def __init__(
        self,
        cache: PrefixCache,
        memory: Memory,
        vocabulary: Vocabulary,
        shelf: Shelf,
        pacer: Pacer,
        deliver: Callable[[Arrived], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._memory = memory
        self._vocabulary = vocabulary
        self._shelf = shelf
        self._pacer = pacer
        self._deliver = deliver
        self._clock = clock
        self._under_way: list[Restore] = []
        self._of: dict[int, Restore | None] = {}

    @property
    def busy(self) -> bool:
        """Whether something is on its way."""
        return bool(self._under_way)

    @property
    def ready(self) -> bool:
        """Whether `place` has something to do."""
        return any(one.placed in one.arrived for one in self._under_way)

    @property
    def patience_seconds(self) -> float | None:
        """How long to wait at most before `place` is called again; None where nobody waits."""
        if not self._under_way:
            return None
        return max(0.0, min(one.late_at for one in self._under_way) - self._clock())

    def brings(self, sequence: Sequence) -> bool:
        """Whether more of the sequence's beginning is on its way than the memory has."""
        if sequence.number not in self._of:
            self._of[sequence.number] = self._begin(sequence)
        restore = self._of[sequence.number]
        return restore is not None and not restore.done

    def forget(self, sequence: Sequence) -> None:
        """The sequence waits no more; what others wait for goes on."""
        restore = self._of.pop(sequence.number, None)
        if restore is not None and restore not in self._of.values():
            self._finish(restore)

    def arrive(self, arrived: Arrived) -> None:
        """Take over what was read."""
        restore = arrived.restore
        if not restore.done:
            restore.arrived[arrived.number] = arrived.payloads
            restore.late_at = self._clock() + PATIENCE_SECONDS

    def place(self, seconds: float = math.inf) -> None:
        """Put what has arrived into cells, for about so long; give up what is late."""
        until = self._clock() + seconds
        for restore in list(self._under_way):
            while not restore.done and restore.placed in restore.arrived:
                if self._clock() > until:
                    return
                self._place(restore, restore.arrived.pop(restore.placed))
            if not restore.done and self._clock() >= restore.late_at:
                self._finish(restore)

    def _begin(self, sequence: Sequence) -> Restore | None:
        wanted = wanted_prefix(sequence)
        if not sequence.reuses or len(wanted) < WORTH_READING or not len(self._shelf):
            return None
        scope, fresh = sequence.request.scope, sequence.times.admitted == 0.0
        plain = self._vocabulary.plain if fresh and sequence.request.from_text else None
        found = self._shelf.find(scope, wanted, plain)
        if found is None or found.held >= self._memory.cells:
            return None
        gain = self._cache.left_of(sequence) - (len(wanted) - found.replaced)
        if gain < WORTH_READING:
            return None
        for other in self._under_way:
            if other.scope == scope and found.records[-1] in other.found.records:
                return other
        tokens = found.tokens
        if not self._memory.saves:
            tokens = tokens[: found.held]
        there = self._cache.length_of(scope, tokens)
        records = tuple(one for one in found.records if min(one.end, len(tokens)) > there)
        if not records or not self._pays(records, gain):
            return None
        restore = Restore(scope, found, tokens, records)
        self._under_way.append(restore)
        self._start_next()
        return restore

    def _start_next(self) -> None:
        for restore in self._under_way[:MOST_AT_ONCE]:
            if not restore.asked:
                restore.late_at = self._clock() + PATIENCE_SECONDS
                for _ in range(READ_AHEAD):
                    self._ask(restore)

    def _pays(self, records: tuple[Record, ...], gain: int) -> bool:
        """Whether reading takes no longer than computing, as far as either is known."""
        read = self._shelf.read_seconds(sum(record.size_bytes for record in records))
        compute = self._pacer.prompt_seconds(gain)
        return read is None or compute is None or read < compute

    def _ask(self, restore: Restore) -> None:
        """Let the next record be read, if there is one."""
        number = restore.asked
        if number == len(restore.records):
            return
        restore.asked += 1

        def deliver(payloads: list[Payload] | None) -> None:
            self._deliver(Arrived(restore, number, payloads))

        self._shelf.read(restore.records[number], deliver)

    def _place(self, restore: Restore, payloads: list[Payload] | None) -> None:
        record = restore.records[restore.placed]
        graft = Graft.NO_ROOM if payloads is None else self._graft(restore, record, payloads)
        if graft is Graft.REFUSED:
            self._shelf.discard(record, "llama.cpp does not take it")
        restore.placed += 1
        if graft is not Graft.PLACED or restore.placed == len(restore.records):
            self._finish(restore)
        else:
            self._ask(restore)

    def _graft(self, restore: Restore, record: Record, payloads: list[Payload]) -> Graft:
        if self._memory.saves:
            lengths = [part.length for part in record.parts]
            parts = dict(zip(lengths, payloads, strict=True))
            return self._cache.graft_whole(restore.scope, record.tokens, parts)
        beginning = restore.tokens[: record.end]
        covers = range(record.start, record.end)
        return self._cache.graft(restore.scope, beginning, payloads[0], covers)

    def _finish(self, restore: Restore) -> None:
        restore.done = True
        restore.arrived.clear()
        if restore in self._under_way:
            self._under_way.remove(restore)
            self._shelf.touch(restore.found.records)
            self._start_next()
