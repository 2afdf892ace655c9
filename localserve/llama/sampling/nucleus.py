"""Top-p over the whole vocabulary: the fewest tokens that hold a share of the probability.

Where language models are sure, a few columns hold nearly all of it: their weights are summed
exactly, those of all others are bounded by the columns' maxima, and if the drawn token is the same
for the least and the most that they can be, it is drawn without looking at them. Otherwise the
weights of the whole row are summed, and of its tokens those are sorted that the rest of the
probability cannot be made of. If those are most of a large vocabulary, tokens are drawn of all
until one is among them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from localserve.llama.sampling.row import Row, sorted_down
from localserve.llama.sampling.sample import Sample, slack
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.sums import RunningSums, running
from localserve.llama.sampling.uniform import Uniform
from localserve.llama.sampling.weights import weigh

BEST = 256
"""So many of the largest logits shall seldom share a column."""

NEAR = np.float32(11.0)
"""Columns are looked into whose maximum is so close to the largest logit: where a model is sure,
all others weigh little together, and are bounded closely enough."""

MOST_COLUMNS = 512
"""Where more are as close, it is not sure."""

SORTED = 16_384
"""A row no larger is sorted: it draws as llama.cpp does, and takes no longer."""

TRIES = 16
"""Of a nucleus of half the tokens that many draws miss seldom."""

FEW = 8
"""Logits in one of so many columns are sorted without asking first how many of them are needed."""


class TopP:
    """Draws from the nucleus in the order of llama.cpp, the most likely token first; where it is
    most of a large vocabulary, in the order of the vocabulary."""

    def __init__(self, share: float, floor: float, temperature: float, uniform: Uniform) -> None:
        """`floor` is how far below the largest a logit may lie, at most 0."""
        self._share = share
        self._floor = np.float32(floor)
        self._temperature = temperature
        self._uniform = uniform
        self.largest = BEST

    def choose(self, scan: Scan) -> int:
        uniform = self._uniform.next()
        token = None if scan.weighed else self.from_the_best(scan, uniform)
        return self.from_all(scan, uniform) if token is None else token

    def close(self) -> None: ...

    def from_the_best(self, scan: Scan, uniform: float) -> int | None:
        """The token, if what is not looked into cannot change it."""
        peak = np.float32(scan.peak)
        threshold, floor = peak - NEAR, peak + self._floor
        near = scan.columns.near(threshold, peak, MOST_COLUMNS)
        if near is None:
            return None
        least = _mass(near.logits - peak)
        elsewhere = _mass(near.rest)
        most = least + near.lines * elsewhere
        least += elsewhere
        best_first = sorted_down(near.logits.compress(near.logits >= max(threshold, floor)))
        below = best_first - peak
        after = running(np.exp(below))
        end = len(best_first) - 1
        longest = int(after.searchsorted(self._share * most))
        if longest > end and threshold > floor:
            return None  # there are more tokens that may belong to it
        longest = min(longest, end)
        shortest = min(int(after.searchsorted(self._share * least)), end)
        if self._temperature != 1.0:
            warm = below[: longest + 1] * (1.0 / self._temperature)
            after = running(np.exp(warm, out=warm))
        place = int(after.searchsorted(uniform * after[shortest], side="right"))
        if shortest < longest and place < after.searchsorted(uniform * after[longest], "right"):
            return None
        return near.id_at(_place_in(near.logits, best_first, min(place, longest)))

    def from_all(self, scan: Scan, uniform: float) -> int:
        """The token, by the weights of the whole row.

        All tokens below a weight of `left / size` together weigh less than `left`, so what is not
        wanted of the whole bounds from below which logits can matter. A sample bounds them more
        closely, and its bound is verified.
        """
        whole = scan.weights(1.0)
        wanted = self._share * whole.total
        left = whole.total - wanted
        peak = np.float32(scan.peak)
        floor = peak + self._floor
        bound = min(max(np.float32(whole.shift + math.log(left / scan.size)), floor), peak)
        if scan.columns.reached(bound) * FEW <= scan.columns.count:
            return self._from_reaching([bound], scan, wanted, uniform)
        sample = Sample(scan.row, scan.peak)
        last = sample.place(left)
        most = 2 * last < len(sample.logits) and floor < sample.logits[last]
        if most and scan.size > SORTED:
            token = self._from_most(floor, scan, wanted, uniform)
            if token is not None:
                return token
            uniform = self._uniform.next()
        last -= slack(len(sample.logits) - last)
        likely = [sample.logits[last]] if last >= 0 and sample.logits[last] > bound else []
        return self._from_reaching([*likely, bound], scan, wanted, uniform)

    def _from_reaching(
        self, bounds: Sequence[np.float32], scan: Scan, wanted: float, uniform: float
    ) -> int:
        """By all that reach a bound: the first that leaves what is wanted, or the last."""
        for bound in bounds:
            ids, logits = scan.columns.reaching(bound)
            best_first = sorted_down(logits)
            sums = RunningSums(weigh(best_first, scan.peak, 1.0))
            if sums.total >= wanted:
                break
        last = sums.reaching(wanted)
        if self._temperature == 1.0:
            place = sums.exceeding(uniform * sums.upto(last))
        else:
            sums = RunningSums(weigh(best_first[: last + 1], scan.peak, self._temperature))
            place = sums.exceeding(uniform * sums.total)
        return int(ids[_place_in(logits, best_first, min(place, last))])

    def _from_most(
        self, floor: np.float32, scan: Scan, wanted: float, uniform: float
    ) -> int | None:
        """Any token as often as it is likely, until one is of the nucleus; None if that seldom
        happens, as the sample has misled."""
        for _ in range(TRIES):
            token = scan.weights(self._temperature).draw(uniform)
            if scan.row[token] >= floor and scan.weight_before(token) < wanted:
                return token
            uniform = self._uniform.next()
        return None


def _mass(below: Row) -> float:
    """The sum of the weights of logits so far below the largest, whose weight is 1; writes over
    them."""
    return float(np.add.reduce(np.exp(below, out=below)))


def _place_in(logits: Row, best_first: Row, place: int) -> int:
    """Where among the logits the one is that has a place when they are sorted; of equal ones, the
    first there stands first here."""
    value = best_first[place]
    equal = (logits == value).nonzero()[0]
    rank = place - np.count_nonzero(best_first > value) if len(equal) > 1 else 0
    return int(equal[rank])
