"""Where the sum of a row's weights, largest first, passes a value, if the row is too flat to sort.

To sort 150,000 logits takes longer than all else. A sample of them says about where that is; the
sum of all that weighs more than the guess is exact, and of a maximum and two sums; only the few
logits between the guess and the place are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from localserve.llama.sampling.row import Row, sorted_down
from localserve.llama.sampling.sums import RunningSums, Side, first, in_lines, running, total_of

STRIDE = 31
"""Of so many logits one is in the sample; a prime, lest it meets a pattern of the vocabulary."""

DEVIATIONS = 3.0
"""How many standard deviations of a count the sample is trusted by."""

Weigh = Callable[[Row], Row]
"""The weights of some logits: of a larger logit a larger one."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A logit, how many are larger, and which one it is of those that equal it, from 0 in order of
    their ids."""

    logit: np.float32
    above: int
    rank: int


class Sample:
    """Some of a row's logits, ascending, and about what all up to each of them weigh."""

    def __init__(self, logits: Row, weigh: Weigh) -> None:
        self.logits = logits
        self._sums = RunningSums(weigh(logits))

    @classmethod
    def of(cls, row: Row, weigh: Weigh) -> Sample:
        return cls(np.sort(row[::STRIDE]), weigh)

    def from_logit(self, logit: np.float32, weigh: Weigh) -> Sample:
        """Those that reach the logit, after itself, by other weights."""
        start = max(0, int(self.logits.searchsorted(logit)) - 1)
        return Sample(np.maximum(self.logits[start:], logit), weigh)

    def place(self, below: float) -> int:
        """Of the logit below which about so much lies."""
        return self._sums.reaching(below / STRIDE)

    def ends(self, place: int, weight: float) -> Iterator[float]:
        """A logit above another one, with at least so much weight between them, in all likelihood,
        and then for certain; where the weight is negative, one below it."""
        other = self._sums.reaching(self._sums.upto(place) + weight / STRIDE)
        more = slack(abs(other - place))
        if weight >= 0.0:
            other = max(other + more, int(self.logits.searchsorted(self.logits[place], "right")))
            if other < len(self.logits):
                yield float(self.logits[other])
            yield math.inf
        else:
            other = min(other - more, int(self.logits.searchsorted(self.logits[place])) - 1)
            if other >= 0:
                yield float(self.logits[other])
            yield -math.inf


def slack(count: int) -> int:
    """How many more logits of a sample there may be where `count` are expected."""
    return int(DEVIATIONS * (1.0 + math.sqrt(count)))


def find_cut(
    row: Row, weights: Row, weigh: Weigh, sample: Sample, target: float, total: float, side: Side
) -> Cut:
    """Where the sum of weights, of the largest logits first, is at least `target` ('left') or more
    than that ('right'), if that of all that count is `total`.

    `weights` are the row's, those that do not count perhaps larger than their own; these and
    others are written over.
    """
    guess = sample.place(total - target)
    reaching = row >= sample.logits[guess]
    above = int(np.count_nonzero(reaching))
    others = len(row) - above
    least = weigh(sample.logits[guess : guess + 1])[0]
    mass = lift(weights, least) - others * float(least)
    missing = target - mass if others else 0.0
    for end in sample.ends(guess, -missing):
        between = reaching ^ (row >= np.float32(end))
        logits = sorted_down(row.take(between.nonzero()[0]))
        sums = running(weigh(logits))
        before = mass if missing > 0.0 else mass - float(sums[-1])
        if before < target <= before + sums[-1]:
            break
    place = first(sums, target - before, side)
    larger = int(np.count_nonzero(logits > logits[place]))
    above += larger if missing > 0.0 else larger - len(logits)
    return Cut(logits[place], above, place - larger)


def lift(weights: Row, least: np.float32) -> float:
    """Make `least` of all that is less; returns the sum of all, then."""
    table, rest = in_lines(weights)
    # With a number in place of the line it takes twice as long.
    np.maximum(table, np.full(table.shape[1], least), out=table)
    np.maximum(rest, least, out=rest)
    return total_of(weights)
