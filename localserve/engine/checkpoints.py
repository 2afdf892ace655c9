"""Checkpoints of sequences that cannot be cut anywhere, within bounds. Pure.

They lie in the tree, at the tokens that they stand for, and go with them; here is how many may.
"""

from __future__ import annotations

from dataclasses import dataclass

from localserve.config import MOST_CHECKPOINTS
from localserve.engine.runner import State
from localserve.engine.tree import PrefixTree


@dataclass(slots=True, eq=False)
class Checkpoint:
    """A state and when it was last used, in seconds of the monotonic clock."""

    state: State
    used: float


class Checkpoints:
    """Keeps the checkpoints in `tree` within `limit_bytes`; those that were used last stay."""

    def __init__(self, tree: PrefixTree[Checkpoint], limit_bytes: int) -> None:
        self._tree = tree
        self._limit_bytes = limit_bytes

    @property
    def size_bytes(self) -> int:
        return sum(one.state.size_bytes for one in self._tree.states())

    def keep(self, slot: int, state: State, now: float) -> None:
        """Keep the state of all that the slot holds, in place of others if need be."""
        if state.size_bytes > self._limit_bytes:
            return
        self._tree.keep_state(slot, Checkpoint(state, now))
        oldest_first = sorted(self._tree.states(), key=lambda one: one.used)
        size = self.size_bytes
        unwanted: set[Checkpoint] = set()
        for one in oldest_first:
            if size <= self._limit_bytes and len(oldest_first) - len(unwanted) <= MOST_CHECKPOINTS:
                break
            unwanted.add(one)
            size -= one.state.size_bytes
        if unwanted:
            self._tree.drop_states(unwanted)
