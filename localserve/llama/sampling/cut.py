"""Where the sum of a row's weights, largest first, passes a value, if the row is too flat to sort.

To sort 150,000 logits takes longer than all else. A sample of them says about where that is; the
sum of all that weighs more than the guess is exact, and of a maximum and two sums; only the few
logits between the guess and the place are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from localserve.llama.sampling.row import CACHE_LINE, Row, sorted_down
from localserve.llama.sampling.sums import RunningSums, Side, first, passes, running, total_of
from localserve.llama.sampling.weights import Workspace

STRIDE = 31
"""Of so many logits one is in the sample; a prime, lest it meets a pattern of the vocabulary."""

DEVIATIONS = 3.0
"""How many standard deviations of a count the sample is trusted by."""

BLOCK = 64
"""Of a sample's running sums: they are asked for several times."""

LINES = 32
"""A row is gone over as a table of so many, which fit the innermost cache one by one."""


class Weigh(Protocol):
    """The weights of some logits: of a larger logit a larger one."""

    def __call__(self, logits: Row, *, out: Row | None = None) -> Row: ...


@dataclass(frozen=True, slots=True)
class Cut:
    """A token, its logit, and its place, from 0, among all when the largest come first; of equal
    ones the lower id does."""

    token: int
    logit: np.float32
    place: int


class Sample:
    """Some of a row's logits, ascending, and about what all up to each of them weigh."""

    def __init__(self, logits: Row, weigh: Weigh) -> None:
        self.logits = logits
        self._sums = RunningSums(weigh(logits), block=BLOCK)

    @classmethod
    def of(cls, row: Row, weigh: Weigh) -> Sample:
        return cls(np.sort(row[::STRIDE]), weigh)

    def from_logit(self, logit: np.float32, weigh: Weigh) -> Sample:
        """Those that reach the logit, after itself, by other weights."""
        start = max(0, int(self.logits.searchsorted(logit)) - 1)
        return Sample(np.maximum(self.logits[start:], logit), weigh)

    @property
    def total(self) -> float:
        """About what they weigh in all."""
        return self._sums.total * STRIDE

    def place(self, below: float) -> int:
        """Of the logit below which about so much lies."""
        return self._sums.reaching(below / STRIDE)

    def above(self, place: int, weight: float) -> Iterator[float]:
        """A larger logit than that there, with so much weight between them in all likelihood, and
        then one for certain."""
        other = self._sums.reaching(self._sums.upto(place) + weight / STRIDE)
        first_larger = int(self.logits.searchsorted(self.logits[place], "right"))
        other = max(other + slack(abs(other - place)), first_larger)
        if other < len(self.logits):
            yield float(self.logits[other])
        yield math.inf

    def below(self, place: int, weight: float) -> Iterator[float]:
        """A smaller logit, likewise."""
        other = self._sums.reaching(self._sums.upto(place) - weight / STRIDE)
        last_smaller = int(self.logits.searchsorted(self.logits[place])) - 1
        other = min(other - slack(abs(other - place)), last_smaller)
        if other >= 0:
            yield float(self.logits[other])
        yield -math.inf


def slack(count: int) -> int:
    """How many more logits of a sample there may be where `count` are expected."""
    return int(DEVIATIONS * (1.0 + math.sqrt(count)))


def find_cut(
    row: Row,
    workspace: Workspace,
    weigh: Weigh,
    sample: Sample,
    *,
    target: float,
    total: float,
    side: Side,
) -> Cut:
    """Where the sum of weights, of the largest logits first, is at least `target` ('left') or more
    than that ('right'), if that of all that count is `total`.

    The workspace holds the weights of the row, those that do not count perhaps larger than they
    are. Small ones are written over.
    """
    # That share of the sample: it may weigh more or less than the row as a whole.
    guess = sample.place((1.0 - target / total) * sample.total)
    reaching, between = workspace.masks
    np.greater_equal(row, sample.logits[guess], out=reaching)
    count = int(np.count_nonzero(reaching))
    least = weigh(sample.logits[guess : guess + 1])[0]
    mass = _mass_reaching(workspace.weights, least, count, total)
    further = count < len(row) and not passes(mass, target, side)
    ends = sample.below if further else sample.above
    for end in ends(guess, abs(target - mass)):
        np.greater_equal(row, np.float32(end), out=between)
        ids = np.logical_xor(reaching, between, out=between).nonzero()[0]
        logits = row.take(ids)
        best_first = sorted_down(logits)
        sums = running(weigh(best_first))
        before = mass if further else mass - float(sums[-1])
        if not passes(before, target, side) and passes(before + sums[-1], target, side):
            break
    place = first(sums, target - before, side)
    logit = best_first[place]
    rank = place - int(np.count_nonzero(best_first > logit))
    token = int(ids[(logits == logit).nonzero()[0][rank]])
    return Cut(token, logit, place + (count if further else count - len(ids)))


def lift(weights: Row, least: np.float32) -> float:
    """Make `least` of all that is less; returns the sum of all, then."""
    width = len(weights) // LINES // CACHE_LINE * CACHE_LINE
    table, rest = weights[: LINES * width].reshape(LINES, width), weights[LINES * width :]
    # With a number in place of the line it takes twice as long.
    np.maximum(table, np.full(width, least), out=table)
    np.maximum(rest, least, out=rest)
    return total_of(weights)


def _mass_reaching(weights: Row, least: np.float32, count: int, total: float) -> float:
    """The sum of the weights that reach `least`, of which there are `count`."""
    lifted = (len(weights) - count) * float(least)
    if lifted <= total:
        return lift(weights, least) - lifted
    # So much would be rounded that little of what is asked for were left.
    np.subtract(weights, least, out=weights)
    return lift(weights, np.float32(0.0)) + count * float(least)
