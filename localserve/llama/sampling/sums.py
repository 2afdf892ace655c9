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
"""Sums of columns of so many weights come a few times as fast as those of blocks."""


def total_of(weights: Row) -> float:
    """Their sum; of each column in float32, of all columns in float64."""
    table, rest = in_lines(weights)
    columns = np.add.reduce(table, axis=0)
    return float(np.add.reduce(columns, dtype=np.float64) + np.add.reduce(rest, dtype=np.float64))


def in_lines(weights: Row) -> tuple[Row, Row]:
    """Most of them as a table of a few long lines, and the rest, that fills none."""
    width = len(weights) // LINES // CACHE_LINE * CACHE_LINE
    return weights[: LINES * width].reshape(LINES, width), weights[LINES * width :]


def running(weights: Row) -> npt.NDArray[np.float64]:
    """The sum up to each of them, that one included."""
    sums = weights.astype(np.float64)  # to convert them while they are summed takes far longer
    return np.add.accumulate(sums, out=sums)


class RunningSums:
    """Of weights that are 0 or more, and not all 0. A place counts from 0."""

    def __init__(self, weights: Row) -> None:
        """Keeps `weights`; they must not change."""
        self._weights = weights
        whole = len(weights) // BLOCK
        sums = np.empty(whole + 1, dtype=np.float32)
        np.add.reduce(weights[: whole * BLOCK].reshape(whole, BLOCK), axis=1, out=sums[:whole])
        sums[whole] = np.add.reduce(weights[whole * BLOCK :])
        self._after = running(sums)
        self.total = float(self._after[-1])

    def upto(self, place: int) -> float:
        """The sum of the weights to `place`, that one included."""
        block = place // BLOCK
        inside = self._weights[block * BLOCK : place + 1]
        return self._before(block) + float(inside.sum(dtype=np.float64))

    def reaching(self, target: float) -> int:
        """The first place at which the sum is at least `target`."""
        return self._find(target, "left")

    def exceeding(self, target: float) -> int:
        """The first place at which the sum is more than `target`; its weight is not 0."""
        return self._find(target, "right")

    def _find(self, target: float, side: Side) -> int:
        block = first(self._after, target, side)
        inside = running(self._weights[block * BLOCK : (block + 1) * BLOCK])
        return block * BLOCK + first(inside, target - self._before(block), side)

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
