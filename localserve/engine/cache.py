"""Who holds which cells: slots, what they share, what is kept, and where a sequence can begin.

Between the scheduler, which decides what is computed, and the memory, whose slots and cells it
gives out and takes back; the tree says at any time what lies in them. Lives on the engine thread.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from localserve.engine.checkpoints import Checkpoint, Checkpoints
from localserve.engine.prefixes import KeptPrefixes, TokenArray
from localserve.engine.runner import Bytes, Memory, State, Vocabulary
from localserve.engine.sequence import Sequence
from localserve.engine.spelling import align
from localserve.engine.tree import PrefixTree

WORTH_SHARING = 32
"""A common beginning shorter than this is computed again rather than shared or waited for."""

SMALLEST_CUT = 256
"""Cells that a kept prefix gives up at once: it is not cut anew at every step."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the beginning of a new sequence lies already: `length` tokens of `slot`.

    `checkpoint` is there where the slot cannot be cut at that length.
    """

    slot: int
    length: int
    checkpoint: Checkpoint | None = None


class Graft(Enum):
    """What became of a state that was to be put into cells."""

    PLACED = auto()
    NO_ROOM = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Rewording:
    """`held` may take the place of the first `replaced` tokens of a prompt, of which `left` are
    to be computed then."""

    held: TokenArray
    replaced: int
    left: int


class PrefixCache:
    """All cells and slots of one memory. `before_loss` is called with the slot of a kept prefix
    that is about to be dropped or cut."""

    before_loss: Callable[[int], None] | None = None

    def __init__(self, memory: Memory, vocabulary: Vocabulary, clock: Callable[[], float]) -> None:
        self._memory = memory
        self._vocabulary = vocabulary
        self._clock = clock
        self.tree: PrefixTree[Checkpoint] = PrefixTree()
        self.checkpoints = Checkpoints(self.tree, memory.checkpoint_bytes)
        self.kept = KeptPrefixes()
        self._free_slots = list(range(memory.slots - 1, -1, -1))

    @property
    def free_cells(self) -> int:
        return self._memory.cells - self.tree.cells

    # Where a sequence begins

    def length_of(self, scope: str, tokens: TokenArray) -> int:
        """How many of the first tokens need not be computed."""
        source = self._source(scope, tokens)
        return source.length if source else 0

    def left_of(self, sequence: Sequence) -> int:
        """How many tokens of a sequence would be computed if it began now."""
        rewording = self._rewording(sequence)
        if rewording is not None:
            return rewording.left
        wanted = wanted_prefix(sequence)
        return len(wanted) - self.length_of(sequence.request.scope, wanted)

    def shared_with(self, newcomer: Sequence, slots: Iterable[int]) -> int:
        """How many cells that these slots hold a new sequence would begin with."""
        if self._memory.saves or not newcomer.reuses:  # it depends on checkpoints, too
            return 0
        match = self.tree.longest(newcomer.request.scope, wanted_prefix(newcomer))
        shared = self.tree.held_of(match, slots) if match else 0
        return shared if shared >= WORTH_SHARING else 0

    def begin(self, sequence: Sequence) -> None:
        """Give the sequence a slot, with the longest beginning that lies in the cells already."""
        self._reword(sequence)
        source = self._source_of(sequence)
        state = source.checkpoint.state if source and source.checkpoint else None
        if source and self._takes_over(source):
            self._tell_of_loss(source.slot, source.length)
            self.kept.remove(source.slot)
            sequence.slot = source.slot
            self.cut(sequence, source.length, state)
        else:
            sequence.slot = self._free_slot(besides=source.slot if source else None)
            if source and source.length >= WORTH_SHARING:
                self._share(source, sequence, state)
        if source and source.checkpoint:
            source.checkpoint.used = self._clock()
        if sequence.times.admitted == 0.0:
            sequence.cached_tokens = sequence.asked_of(sequence.computed)

    def _takes_over(self, source: Source) -> bool:
        """Whether to go on in a kept prefix's own slot, rather than to share its cells: if nothing
        is lost by that, or if it would be the one to go to make a slot free."""
        if source.slot not in self.kept:
            return False
        if source.length == self.tree.length(source.slot):
            return True
        return not self._free_slots and self._least_valuable() == source.slot

    def _share(self, source: Source, sequence: Sequence, state: State | None) -> None:
        assert sequence.slot is not None
        shared = self._memory.share(source.slot, sequence.slot, source.length, state)
        if shared:
            self.tree.fork(source.slot, sequence.slot, shared)
            sequence.computed = shared
        if source.slot in self.kept:
            self.kept.keep(source.slot, self._clock())

    def _source_of(self, sequence: Sequence) -> Source | None:
        if not sequence.reuses:
            return None
        return self._source(sequence.request.scope, wanted_prefix(sequence))

    def _source(self, scope: str, tokens: TokenArray) -> Source | None:
        match = self.tree.longest(scope, tokens)
        for length, slots, checkpoint in match.candidates() if match else ():
            for slot in slots:
                if self._memory.can_cut(slot, length):
                    return Source(slot, length)
                if checkpoint is not None:
                    return Source(slot, length, checkpoint)
        return None

    def source_of(self, sequence: Sequence) -> Source | None:
        """What a sequence would begin with now."""
        rewording = self._rewording(sequence)
        if rewording is None:
            return self._source_of(sequence)
        tokens = wanted_prefix(sequence)
        reworded = np.concatenate([rewording.held, tokens[rewording.replaced :]])
        return self._source(sequence.request.scope, reworded)

    def _reword(self, sequence: Sequence) -> None:
        """Let the ids of an earlier answer stand where the prompt repeats its text in others."""
        rewording = self._rewording(sequence)
        if rewording is not None:
            sequence.reword(rewording.held, rewording.replaced)

    def _rewording(self, sequence: Sequence) -> Rewording | None:
        if not sequence.request.from_text or not sequence.reuses or sequence.times.admitted:
            return None
        scope, wanted = sequence.request.scope, wanted_prefix(sequence)
        match = self.tree.longest(scope, wanted)
        best = match.length if match else 0
        chosen: TokenArray | None = None
        for slot, equal in self.tree.partings(scope, match):
            tokens = self.tree.tokens(slot, equal)
            held, replaced = align(tokens, wanted[equal:], self._vocabulary.plain)
            if equal + replaced > best:
                best = equal + replaced
                chosen = np.concatenate([wanted[:equal], tokens[:held]])
        if chosen is None:
            return None
        reworded = np.concatenate([chosen, wanted[best:]])
        left = len(reworded) - self.length_of(scope, reworded)
        if left < len(wanted) - self.length_of(scope, wanted):
            return Rewording(chosen, best, left)
        return None

    # What comes from elsewhere

    def graft(self, scope: str, tokens: TokenArray, data: Bytes, covers: range) -> Graft:
        """Keep a prefix of these tokens; `data` is what was computed of those in `covers`, and
        maybe of some behind them.

        What lies before them must be there.
        """
        source = self._source(scope, tokens)
        there = source.length if source else 0
        if there == len(tokens):
            return Graft.PLACED
        besides = source.slot if source else None
        if there < covers.start or not self._free_up(len(covers), besides=besides):
            return Graft.NO_ROOM
        slot = self._slot_that_holds(source)
        if slot is None:
            return Graft.NO_ROOM
        there = self.tree.length(slot)
        placed = self._memory.copy_in(slot, there, len(tokens), data, covers)
        if placed:
            self.tree.extend(slot, scope, tokens[there:])
        self._keep(slot)
        return Graft.PLACED if placed else Graft.REFUSED

    def graft_whole(self, scope: str, tokens: TokenArray, parts: Mapping[int, Bytes]) -> Graft:
        """Keep a prefix that cannot be cut. `parts` are by length: what was computed of all of
        `tokens`, and checkpoints of beginnings."""
        slot = self._spare_slot() if self._free_up(len(tokens)) else None
        if slot is None:
            return Graft.NO_ROOM
        if not self._memory.copy_in(slot, 0, len(tokens), parts[len(tokens)], range(len(tokens))):
            self._clear(slot)
            return Graft.REFUSED
        start = 0
        for length in sorted(parts):
            self.tree.extend(slot, scope, tokens[start:length])
            start = length
            if length < len(tokens):
                state = self._memory.checkpoint(parts[length])
                self.checkpoints.keep(slot, state, self._clock())
        self._keep(slot)
        return Graft.PLACED

    def _slot_that_holds(self, source: Source | None) -> int | None:
        """A kept slot with just the source's tokens: its own, or one more that shares them."""
        if source is None:
            return self._spare_slot()
        if source.slot in self.kept and source.length == self.tree.length(source.slot):
            return source.slot
        slot = self._spare_slot(besides=source.slot)
        if slot is not None and self._memory.share(source.slot, slot, source.length):
            self.tree.fork(source.slot, slot, source.length)
        return slot

    def _free_up(self, cells: int, *, besides: int | None = None) -> bool:
        """Let kept prefixes go for so many free cells; none of them where that is too many."""
        stay = (slot for slot in self.tree.slots if slot == besides or slot not in self.kept)
        if cells > self._memory.cells - self.tree.held_cells(stay):
            return False
        while (short := cells - self.free_cells) > 0:
            if not self.give_up(short, besides=besides):
                return False
        return True

    def _spare_slot(self, *, besides: int | None = None) -> int | None:
        """A free slot; None where all but `besides` are those of running sequences."""
        if not self._free_slots and self._least_valuable(besides=besides) is None:
            return None
        return self._free_slot(besides=besides)

    def _keep(self, slot: int) -> None:
        """Keep what a slot holds, if it holds anything."""
        if self.tree.length(slot):
            self.kept.keep(slot, self._clock())
        else:
            self._clear(slot)

    # Slots and cells

    def advance(
        self, sequence: Sequence, tokens: abc.Sequence[int], *, checkpoint: bool = False
    ) -> None:
        """The slot holds these tokens too; with `checkpoint`, one is kept of all that it holds."""
        assert sequence.slot is not None
        sequence.computed += len(tokens)
        self.tree.extend(sequence.slot, sequence.request.scope, tokens)
        state = self._memory.save(sequence.slot) if checkpoint else None
        if state is not None:
            self.checkpoints.keep(sequence.slot, state, self._clock())

    def keep(self, sequence: Sequence) -> None:
        """Keep what is computed of the sequence, in its slot, unless it is worth nothing."""
        slot, sequence.slot = sequence.slot, None
        assert slot is not None
        self._keep(slot)
        if slot in self.kept:
            self._drop_what_is_held_twice(slot)

    def _drop_what_is_held_twice(self, newest: int) -> None:
        """A kept prefix that others begin with saves nothing and wants no slot."""
        if self._memory.saves:  # one that cannot be cut can go on only from where it ends
            return
        for slot in self.tree.beginnings_of(newest):
            if slot in self.kept:
                self._drop(slot)
        if self.tree.is_doubled(newest):
            self._drop(newest)

    def _free_slot(self, *, besides: int | None) -> int:
        if not self._free_slots:
            victim = self._least_valuable(besides=besides)
            assert victim is not None, "more run than there are slots"
            self._tell_of_loss(victim, 0)
            self._drop(victim)
        return self._free_slots.pop()

    def _least_valuable(self, *, besides: int | None = None) -> int | None:
        return self.kept.least_valuable(self.tree.own_cells, self._clock(), besides=besides)

    def give_up(self, cells: int, *, besides: int | None = None) -> bool:
        """Free some of the least valuable kept cells, about `cells` if it has so many; False when
        nothing is kept any more, but in the slot `besides`."""
        slot = self._least_valuable(besides=besides)
        if slot is None:
            return False
        length = self.tree.length(slot)
        self._tell_of_loss(slot, 0)
        left = length - max(cells, SMALLEST_CUT)
        own = self.tree.own_cells(slot)
        self.shrink(slot, left if left > length - own and left >= WORTH_SHARING else 0)
        return True

    def shrink(self, slot: int, length: int) -> None:
        """Let a kept prefix hold no more than its first `length` tokens; nothing, where it cannot
        be cut there."""
        if length and self._memory.can_cut(slot, length):
            length = self._memory.truncate(slot, length)
            self.tree.cut(slot, length)
        else:
            length = 0
        if not length:
            self._drop(slot)

    def _tell_of_loss(self, slot: int, left: int) -> None:
        if self.before_loss is not None and left < self.tree.length(slot):
            self.before_loss(slot)

    def _drop(self, slot: int) -> None:
        """Forget a kept prefix."""
        self.kept.remove(slot)
        self._clear(slot)

    def _clear(self, slot: int) -> None:
        self._memory.truncate(slot, 0)
        self.tree.cut(slot, 0)
        self._free_slots.append(slot)

    def cut(self, sequence: Sequence, length: int, state: State | None = None) -> None:
        """Forget what is computed of the sequence behind `length`, or all where that cannot be."""
        assert sequence.slot is not None
        sequence.computed = self._memory.truncate(sequence.slot, length, state)
        self.tree.cut(sequence.slot, sequence.computed)


def wanted_prefix(sequence: Sequence) -> TokenArray:
    """What need not be computed where it is there: all but the last token, whose logits are."""
    return np.array(sequence.tokens[:-1], dtype=np.int32)
