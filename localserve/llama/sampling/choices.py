"""The ways to choose a token from a row, and which settings mean which.

All but `Greedy` draw as llama.cpp's chain over the whole vocabulary would: of the same candidates,
with the same probabilities, in the same order and by the same random numbers. So a seed gives the
chain's own tokens, but where float32 rounds its sums of 150,000 weights otherwise.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np

from localserve.chat import Sampling
from localserve.llama.sampling.chain import Chain
from localserve.llama.sampling.row import Ids, Row
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.sums import RunningSums
from localserve.llama.sampling.uniform import Uniform, seed_of

SMALLEST_TEMPERATURE = 1e-6
"""Below it answers are greedy: logits divided by so little would overflow."""

NEGLIGIBLE = 87.0
"""A logit so far below the largest has a probability that float32 cannot hold."""


class Choice(Protocol):
    """Chooses from a row that a scan has read."""

    def choose(self, scan: Scan) -> int: ...

    def close(self) -> None: ...


def choice_of(sampling: Sampling, size: int) -> Choice | None:
    """How the settings choose from `size` tokens; None is greedy."""
    temperature = sampling.temperature or 0.0
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    if temperature < SMALLEST_TEMPERATURE or sampling.top_k == 1 or top_p <= 0.0:
        return None
    seed = seed_of(sampling.seed)
    top_k = sampling.top_k or 0
    if not 0 < top_k < size:
        sampling = replace(sampling, top_k=0)
    if sampling.typical_p is not None and sampling.typical_p < 1.0:
        return Typical(Chain(sampling, seed), sampling.top_k or 0)
    if sampling.top_k:
        return TopK(Chain(sampling, seed), sampling.top_k)
    floor = math.log(sampling.min_p) if sampling.min_p else -math.inf
    if top_p < 1.0:
        return TopP(top_p, floor, temperature, Uniform(seed))
    if sampling.min_p:
        return MinP(floor, temperature, Uniform(seed))
    return AnyToken(temperature, Uniform(seed))


class TopK:
    """The k largest logits, then llama.cpp's chain on them."""

    def __init__(self, chain: Chain, count: int) -> None:
        self._chain = chain
        self._count = count

    def choose(self, scan: Scan) -> int:
        # A few more may reach the threshold: the chain keeps the k best of them.
        return self._chain.draw(*scan.columns.reaching(scan.columns.threshold(self._count)))

    def close(self) -> None:
        self._chain.close()


class Typical:
    """llama.cpp's chain over all tokens with a probability; its sums would be NaN with others."""

    def __init__(self, chain: Chain, count: int) -> None:
        self._chain = chain
        self._count = count

    def choose(self, scan: Scan) -> int:
        threshold = np.float32(scan.peak - NEGLIGIBLE)
        if self._count:
            threshold = max(threshold, scan.columns.threshold(self._count))
        return self._chain.draw(*scan.columns.reaching(threshold))

    def close(self) -> None:
        self._chain.close()


class TopP:
    """The fewest tokens that hold a share of the probability, most likely first.

    All tokens below a weight of `left / size` together weigh less than `left`: what of the whole is
    not wanted bounds from below which logits can matter, and only they are sorted.
    """

    def __init__(self, share: float, floor: float, temperature: float, uniform: Uniform) -> None:
        """`floor` is how far below the largest a logit may lie, at most 0."""
        self._share = share
        self._floor = np.float32(floor)
        self._temperature = temperature
        self._uniform = uniform

    def choose(self, scan: Scan) -> int:
        whole = scan.weights(1.0)
        wanted = self._share * whole.total
        bound = whole.shift + math.log((whole.total - wanted) / scan.size)
        ids, logits = self._candidates(scan, np.float32(bound))
        workspace = scan.lend_workspace()
        best_first = _sorted_down(logits, workspace.sorted)
        weights = np.subtract(best_first, whole.shift, out=workspace.weights[: len(logits)])
        sums = RunningSums(np.exp(weights, out=weights))
        last = sums.reaching(wanted)
        uniform = self._uniform.next()
        if self._temperature == 1.0:
            place = sums.exceeding(uniform * sums.upto(last))
        else:
            nucleus = best_first[: last + 1]
            place = _draw(nucleus, scan.peak, self._temperature, uniform, out=weights[: last + 1])
        return _token_at(min(place, last), best_first, ids, logits)

    def _candidates(self, scan: Scan, bound: np.float32) -> tuple[Ids | None, Row]:
        """Ids and logits of all that can be drawn, and perhaps others; without ids the whole row,
        where picking out what it is about would take longer than sorting the rest of it too."""
        floor = np.float32(scan.peak) + self._floor
        if floor < bound and scan.columns.most_reach(bound):
            return None, scan.row
        return scan.columns.reaching(max(bound, floor))

    def close(self) -> None: ...


class MinP:
    """The tokens that are at most so much less likely than the likeliest."""

    def __init__(self, floor: float, temperature: float, uniform: Uniform) -> None:
        """`floor` is how far below the largest a logit may lie, at most 0."""
        self._floor = np.float32(floor)
        self._temperature = temperature
        self._uniform = uniform

    def choose(self, scan: Scan) -> int:
        ids, logits = scan.columns.reaching(np.float32(scan.peak) + self._floor)
        out = scan.lend_workspace().weights[: len(logits)]
        return int(ids[_draw(logits, scan.peak, self._temperature, self._uniform.next(), out=out)])

    def close(self) -> None: ...


class AnyToken:
    """Temperature alone: every token as often as it is likely."""

    def __init__(self, temperature: float, uniform: Uniform) -> None:
        self._temperature = temperature
        self._uniform = uniform

    def choose(self, scan: Scan) -> int:
        return scan.weights(self._temperature).draw(self._uniform.next())

    def close(self) -> None: ...


def _draw(logits: Row, peak: float, temperature: float, uniform: float, *, out: Row) -> int:
    """The place of one of the logits, drawn by their weights; `peak` is the largest of them."""
    np.subtract(logits, peak, out=out)
    np.multiply(out, 1.0 / temperature, out=out)
    sums = RunningSums(np.exp(out, out=out))
    return sums.exceeding(uniform * sums.total)


def _sorted_down(logits: Row, memory: Row) -> Row:
    """The logits, largest first, in `memory`."""
    out = np.negative(logits, out=memory[: len(logits)])
    out.sort()
    return np.negative(out, out=out)


def _token_at(place: int, best_first: Row, ids: Ids | None, logits: Row) -> int:
    """The id at a place of the sorted logits; of equal ones, the lower id stands first."""
    value = best_first[place]
    equal = (logits == value).nonzero()[0]
    rank = place - np.count_nonzero(best_first > value) if len(equal) > 1 else 0
    return int(equal[rank] if ids is None else ids[equal[rank]])
