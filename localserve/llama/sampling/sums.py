"""Running sums of many weights, and where they pass a value, without adding up all of them."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from localserve.llama.sampling.row import CACHE_LINE, Row

Side = Literal["left", "right"]

BLOCK = 512
"""The block is found first, by the blocks' sums, then the place in it."""

LINES = 32
"""A row is gone over as a table of so many, which fit the innermost cache one by one."""


def block_sums(weights: Row, block: int = BLOCK) -> Row:
    """Of the blocks that are whole, and then of the rest."""
    whole = len(weights) // block
    sums = np.empty(whole + 1, dtype=np.float32)
    # It takes a third of the time of numpy's own reduction.
    np.einsum("ij->i", weights[: whole * block].reshape(whole, block), out=sums[:whole])
    sums[whole] = np.add.reduce(weights[whole * block :])
    return sums


def total_of(weights: Row) -> float:
    """Their sum; within blocks in float32, of all blocks in float64."""
    return float(np.add.reduce(block_sums(weights), dtype=np.float64))


def sum_of_larger(weights: Row, than: np.float32, count: int, total: float, spare: Row) -> float:
    """The sum of the `count` weights that are larger; that of all is `total`. Without a choice of
    some, which takes longer than all else: the smaller are lifted to `than`, and it is known what
    they weigh then. Writes over `spare`."""
    lifted = (len(weights) - count) * float(than)
    if lifted <= total:
        return _lifted_sum(weights, than, spare) - lifted
    # So much would be rounded that little of what is asked for were left.
    np.subtract(weights, than, out=spare)
    return _lifted_sum(spare, np.float32(0.0), spare) + count * float(than)


def _lifted_sum(weights: Row, least: np.float32, spare: Row) -> float:
    """The sum of all, if none were less than `least`."""
    table = LINES * (len(weights) // LINES // CACHE_LINE * CACHE_LINE)
    shape = (LINES, table // LINES)
    # With a number in place of the line it takes twice as long.
    line = np.full(shape[1], least)
    np.maximum(weights[:table].reshape(shape), line, out=spare[:table].reshape(shape))
    np.maximum(weights[table:], least, out=spare[table:])
    return total_of(spare)


def running(weights: Row) -> npt.NDArray[np.float64]:
    """The sum up to each of them, that one included."""
    sums = weights.astype(np.float64)  # to convert them while they are summed takes far longer
    return np.add.accumulate(sums, out=sums)


class RunningSums:
    """Of weights that are 0 or more, and not all 0. A place counts from 0."""

    def __init__(self, weights: Row, block: int = BLOCK) -> None:
        """Keeps `weights`; they must not change. Smaller blocks are for many questions."""
        self._weights = weights
        self._block = block
        self._after = running(block_sums(weights, block))
        self.total = float(self._after[-1])

    def upto(self, place: int) -> float:
        """The sum of the weights to `place`, that one included."""
        block = place // self._block
        inside = self._weights[block * self._block : place + 1]
        return self._before(block) + float(inside.sum(dtype=np.float64))

    def reaching(self, target: float) -> int:
        """The first place at which the sum is at least `target`."""
        return self._find(target, "left")

    def exceeding(self, target: float) -> int:
        """The first place at which the sum is more than `target`; its weight is not 0."""
        return self._find(target, "right")

    def _find(self, target: float, side: Side) -> int:
        block = first(self._after, target, side)
        start = block * self._block
        inside = running(self._weights[start : start + self._block])
        return start + first(inside, target - self._before(block), side)

    def _before(self, block: int) -> float:
        return float(self._after[block - 1]) if block else 0.0


def passes(sum_so_far: float, target: float, side: Side) -> bool:
    """Whether it is at least the target ('left'), or more than that ('right')."""
    return sum_so_far >= target if side == "left" else sum_so_far > target


def first(sums: npt.NDArray[np.float64], target: float, side: Side) -> int:
    """Where the sums first pass `target`; the last that adds something, where rounding kept them
    from it."""
    place = int(sums.searchsorted(target, side))
    return place if place < len(sums) else int(sums.searchsorted(sums[-1]))
