"""Top-p over the whole vocabulary: the fewest tokens that hold a share of the probability.

Where language models are sure, a few columns hold nearly all of it: their weights are summed
exactly, those of all others are bounded by the columns' maxima, and if the drawn token is the same
for the least and the most that they can be, it is drawn without looking at them. Otherwise the
weights of the whole row are summed, and of its tokens those are sorted that the rest of the
probability cannot be made of.
"""

from __future__ import annotations

import math

import numpy as np

from localserve.llama.sampling.row import Ids, Row
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.sums import RunningSums
from localserve.llama.sampling.uniform import Uniform

BEST = 256
"""So many columns, those with the largest maxima, are looked into first."""

LONGEST_PAUSE = 15
"""After a row that they could not decide, the next are not tried with them: at most so many."""


class TopP:
    """Draws from the nucleus in the order of llama.cpp, the most likely token first."""

    def __init__(self, share: float, floor: float, temperature: float, uniform: Uniform) -> None:
        """`floor` is how far below the largest a logit may lie, at most 0."""
        self._share = share
        self._floor = np.float32(floor)
        self._temperature = temperature
        self._uniform = uniform
        self.largest = BEST
        self._pause = 0
        self._paused = 0

    def choose(self, scan: Scan) -> int:
        uniform = self._uniform.next()
        if self._paused or scan.weighed:
            self._paused = max(0, self._paused - 1)
            return self.from_all(scan, uniform)
        token = self.from_the_best(scan, uniform)
        if token is not None:
            self._pause = 0
            return token
        self._paused = self._pause = min(2 * self._pause + 1, LONGEST_PAUSE)
        return self.from_all(scan, uniform)

    def close(self) -> None: ...

    def from_the_best(self, scan: Scan, uniform: float) -> int | None:
        """The token, if what is not looked into cannot change it."""
        peak = scan.peak
        near = scan.columns.near(BEST)
        least = _mass(near.logits, peak)
        elsewhere = _mass(near.other_maxima, peak)
        most = least + near.lines * elsewhere
        least += elsewhere
        floor = np.float32(peak) + self._floor
        best_first = _sorted_down(near.logits[near.logits >= max(near.threshold, floor)])
        after = np.exp(best_first - peak).cumsum(dtype=np.float64)
        shortest = int(after.searchsorted(self._share * least))
        longest = int(after.searchsorted(self._share * most))
        end = len(best_first) - 1
        if longest > end and near.threshold > floor:
            return None  # there are more tokens that may belong to it
        shortest, longest = min(shortest, end), min(longest, end)
        if self._temperature != 1.0:
            warm = (best_first[: longest + 1] - peak) * (1.0 / self._temperature)
            after = np.exp(warm).cumsum(dtype=np.float64)
        place = int(after.searchsorted(uniform * after[shortest], side="right"))
        if place < int(after.searchsorted(uniform * after[longest], side="right")):
            return None
        return _token_at(min(place, longest), best_first, near.ids, near.logits)

    def from_all(self, scan: Scan, uniform: float) -> int:
        """The token, by the weights of the whole row.

        All tokens below a weight of `left / size` together weigh less than `left`, so what is not
        wanted of the whole bounds from below which logits can matter.
        """
        whole = scan.weights(1.0)
        wanted = self._share * whole.total
        bound = whole.shift + math.log((whole.total - wanted) / scan.size)
        ids, logits = self._candidates(scan, np.float32(bound))
        workspace = scan.lend_workspace()
        best_first = _sorted_down(logits, out=workspace.sorted[: len(logits)])
        weights = np.subtract(best_first, whole.shift, out=workspace.weights[: len(logits)])
        sums = RunningSums(np.exp(weights, out=weights))
        last = sums.reaching(wanted)
        if self._temperature == 1.0:
            place = sums.exceeding(uniform * sums.upto(last))
        else:
            warm = np.subtract(best_first[: last + 1], scan.peak, out=weights[: last + 1])
            warm *= 1.0 / self._temperature
            sums = RunningSums(np.exp(warm, out=warm))
            place = sums.exceeding(uniform * sums.total)
        return _token_at(min(place, last), best_first, ids, logits)

    def _candidates(self, scan: Scan, bound: np.float32) -> tuple[Ids | None, Row]:
        """Ids and logits of all that can be drawn, and perhaps others; without ids the whole row,
        where picking out what it is about would take longer than sorting the rest of it too."""
        floor = np.float32(scan.peak) + self._floor
        if floor < bound and scan.columns.most_reach(bound):
            return None, scan.row
        return scan.columns.reaching(min(max(bound, floor), np.float32(scan.peak)))


def _mass(logits: Row, peak: float) -> float:
    """The sum of their weights, that of the peak being 1."""
    weights = logits - peak
    return float(np.exp(weights, out=weights).sum())


def _sorted_down(logits: Row, out: Row | None = None) -> Row:
    """The logits, largest first; in `out`, which is as long, if it is given."""
    ascending = np.negative(logits, out=out)
    ascending.sort()
    return np.negative(ascending, out=ascending)


def _token_at(place: int, best_first: Row, ids: Ids | None, logits: Row) -> int:
    """The id at a place of the sorted logits; of equal ones, the lower id stands first."""
    value = best_first[place]
    equal = (logits == value).nonzero()[0]
    rank = place - np.count_nonzero(best_first > value) if len(equal) > 1 else 0
    return int(equal[rank] if ids is None else ids[equal[rank]])
