"""exp(logit / temperature) over a whole vocabulary: its sum, and a draw by it without a sort."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from localserve.llama.sampling.row import Row

BLOCK = 512
"""A draw finds its block first, by the blocks' sums, then its token in it."""

SAFE_EXPONENT = 40.0
"""A largest logit within it needs no shift: float32 holds its exponential, and those of all logits
that are not negligible beside it."""


class Workspace:
    """Memory for one row at a time. Shared by all samplers of a thread."""

    def __init__(self, size: int) -> None:
        self.blocks: npt.NDArray[np.float32] = np.zeros((-(-size // BLOCK), BLOCK), np.float32)
        """The weights, with zeros behind the last."""
        self.weights: Row = self.blocks.ravel()[:size]


class Weights:
    """The weights of a row, exp(logit / temperature - shift), in the workspace until the next."""

    def __init__(self, row: Row, peak: float, temperature: float, workspace: Workspace) -> None:
        """`peak` is the row's largest logit."""
        self.shift = _exponentials(row, peak, temperature, workspace.weights)
        self._blocks = workspace.blocks
        self._cumulative = workspace.blocks.sum(axis=1).cumsum(dtype=np.float64)
        self.total = float(self._cumulative[-1])

    @property
    def log_total(self) -> float:
        """The logarithm of the sum of exp(logit / temperature)."""
        return math.log(self.total) + self.shift

    def draw(self, uniform: float) -> int:
        """The first token at which the sum of weights so far exceeds `uniform` (in [0, 1)) of all.

        Source: llama.cpp's `dist` sampler, which goes over the vocabulary in the same order.
        """
        target = uniform * self.total
        block = pick(self._cumulative, target)
        before = float(self._cumulative[block - 1]) if block else 0.0
        inside = self._blocks[block].cumsum(dtype=np.float64)
        return block * BLOCK + pick(inside, target - before)


def pick(cumulative: npt.NDArray[np.float64], target: float) -> int:
    """Where the cumulative sum first exceeds `target`, never at an element that adds nothing.

    Sums that were rounded differently can fall short of `target`: then the last that adds.
    """
    place = int(cumulative.searchsorted(target, side="right"))
    if place < len(cumulative):
        return place
    return int(cumulative.searchsorted(cumulative[-1], side="left"))


def _exponentials(row: Row, peak: float, temperature: float, out: Row) -> float:
    """Write exp(row / temperature - shift) to `out`; returns the shift."""
    top = peak / temperature
    if abs(top) <= SAFE_EXPONENT:
        scaled = row if temperature == 1.0 else np.multiply(row, 1.0 / temperature, out=out)
        np.exp(scaled, out=out)
        return 0.0
    np.subtract(row, peak, out=out)
    if temperature != 1.0:
        np.multiply(out, 1.0 / temperature, out=out)
    np.exp(out, out=out)
    return top
