"""An embedder without a model: a vector tells which tokens it was made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from localserve.engine.embedder import Piece, Vector
from localserve.engine.runner import Interrupted


def vector_of(tokens: Sequence[int]) -> list[float]:
    """What the embedder makes of an input."""
    weighted = sum(place * token for place, token in enumerate(tokens, 1))
    return [float(len(tokens)), float(sum(tokens)), float(weighted)]


@dataclass
class ScriptedEmbedder:
    """Checks strictly what it is asked; `on_run` is called with every batch before it."""

    cells: int = 1024
    slots: int = 8
    divides: bool = False
    on_run: Callable[[Sequence[Piece]], None] = lambda batch: None
    memory: dict[int, list[int]] = field(default_factory=dict)
    batches: list[list[Piece]] = field(default_factory=list)
    closed: bool = False
    interrupted: threading.Event = field(default_factory=threading.Event)

    def run(self, batch: Sequence[Piece]) -> list[Vector | None]:
        assert batch, "an empty batch was run"
        assert len({piece.slot for piece in batch}) == len(batch)
        assert all(piece.tokens for piece in batch)
        assert self.divides or all(piece.start == 0 and piece.last for piece in batch)
        self.interrupted.clear()
        try:
            self.on_run(batch)
            if self.interrupted.is_set():
                raise Interrupted
        except BaseException:
            for piece in batch:
                self.memory.pop(piece.slot, None)
            raise
        self.batches.append(list(batch))
        return [self._compute(piece) for piece in batch]

    def _compute(self, piece: Piece) -> Vector | None:
        held = self.memory.setdefault(piece.slot, [])
        assert len(held) == piece.start
        held.extend(piece.tokens)
        assert sum(map(len, self.memory.values())) <= self.cells
        if not piece.last:
            return None
        return np.array(vector_of(self.memory.pop(piece.slot)), dtype=np.float32)

    def forget(self, slot: int) -> None:
        self.memory.pop(slot, None)

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True
