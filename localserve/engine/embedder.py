"""What the engine of vectors needs of whatever computes them. All but `interrupt` is called on the
engine thread only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]
"""Shape (width,): what the model makes of one input, as it is."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive tokens of one input, to be computed in one step; `start` is the position of the
    first. After its `last` piece an input has a vector."""

    slot: int
    start: int
    tokens: Sequence[int]
    last: bool


class Embedder(Protocol):
    """Computes vectors. Created, used and closed on the engine thread."""

    @property
    def cells(self) -> int:
        """Tokens of all inputs together that have begun and have not ended; none is longer."""
        ...

    @property
    def slots(self) -> int:
        """How many inputs can have begun at once."""
        ...

    @property
    def divides(self) -> bool:
        """Whether an input may be computed in several steps."""
        ...

    def run(self, batch: Sequence[Piece]) -> list[Vector | None]:
        """Compute the batch: one result per piece, None for those that are not the last.

        The slots of last pieces are empty afterwards. Raises: Interrupted, DecodeFailed; then all
        slots of the batch are empty.
        """
        ...

    def forget(self, slot: int) -> None:
        """Empty a slot."""
        ...

    def interrupt(self) -> None:
        """Make a running `run` raise Interrupted soon. From any thread; harmless when late."""
        ...

    def close(self) -> None: ...
