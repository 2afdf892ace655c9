"""The ways to choose a token from a row, and which settings mean which.

They draw as llama.cpp's chain over the whole vocabulary would: of the same candidates, with
the same probabilities, in the same order and by the same random numbers. So a seed gives the
chain's own tokens, but where float32 rounds its sums of 150,000 weights otherwise, and where
most of a large vocabulary is in top-p's nucleus, which only a sort could put in order.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

import numpy as np

from localserve.chat import Sampling
from localserve.llama.sampling.chain import Chain
from localserve.llama.sampling.nucleus import TopP
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.sums import RunningSums
from localserve.llama.sampling.sure import SureOnly, Words
from localserve.llama.sampling.uniform import Uniform, seed_of

SMALLEST_TEMPERATURE = 1e-6
"""Below it answers are greedy: logits divided by so little would overflow."""

NEGLIGIBLE = 87.0
"""A logit so far below the largest has a probability that float32 cannot hold."""


class Choice(Protocol):
    """Chooses from a row that a scan has read.

    `largest` is how many of the largest logits it asks the scan for.
    """

    @property
    def largest(self) -> int: ...

    def choose(self, scan: Scan) -> int: ...

    def close(self) -> None: ...


def choice_of(sampling: Sampling, size: int, words: Words | None = None) -> Choice | None:
    """How the settings choose from `size` tokens; None is greedy. `sure_only` needs the words."""
    temperature = sampling.temperature or 0.0
    if temperature < SMALLEST_TEMPERATURE:
        temperature = 0.0
    # Shares are what float32 makes of them, as in llama.cpp.
    top_p = 1.0 if sampling.top_p is None else float(np.float32(sampling.top_p))
    min_p = np.float32(sampling.min_p or 0.0)
    top_k = sampling.top_k or 0
    likely = words if sampling.sure_only else None
    if top_k == 1 or top_p <= 0.0 or not (temperature or likely):
        return None
    seed = seed_of(sampling.seed)
    if likely is not None:
        return SureOnly(
            likely,
            Uniform(seed),
            top_k=top_k,
            top_p=top_p,
            min_p=float(min_p),
            temperature=temperature,
        )
    if not 0 < top_k < size:
        sampling = replace(sampling, top_k=0)
    if sampling.typical_p is not None and sampling.typical_p < 1.0:
        return Typical(Chain(sampling, seed), sampling.top_k or 0)
    if sampling.top_k:
        return TopK(Chain(sampling, seed), sampling.top_k)
    floor = min(0.0, float(np.log(min_p))) if min_p > 0 else -math.inf
    if top_p < 1.0:
        return TopP(top_p, floor, temperature, Uniform(seed))
    if min_p > 0:
        return MinP(floor, temperature, Uniform(seed))
    return AnyToken(temperature, Uniform(seed))


class TopK:
    """The k largest logits, then llama.cpp's chain on them."""

    def __init__(self, chain: Chain, count: int) -> None:
        self._chain = chain
        self.largest = count

    def choose(self, scan: Scan) -> int:
        # A few more may reach the threshold: the chain keeps the k best of them.
        return self._chain.draw(*scan.columns.reaching(scan.columns.threshold(self.largest)))

    def close(self) -> None:
        self._chain.close()


class Typical:
    """llama.cpp's chain over all tokens with a probability; its sums would be NaN with others."""

    def __init__(self, chain: Chain, count: int) -> None:
        self._chain = chain
        self.largest = count

    def choose(self, scan: Scan) -> int:
        threshold = np.float32(scan.peak - NEGLIGIBLE)
        if self.largest:
            threshold = max(threshold, scan.columns.threshold(self.largest))
        return self._chain.draw(*scan.columns.reaching(threshold))

    def close(self) -> None:
        self._chain.close()


class MinP:
    """The tokens that are at most so much less likely than the likeliest."""

    def __init__(self, floor: float, temperature: float, uniform: Uniform) -> None:
        """`floor` is how far below the largest a logit may lie, at most 0."""
        self._floor = np.float32(floor)
        self._temperature = temperature
        self._uniform = uniform
        self.largest = 0

    def choose(self, scan: Scan) -> int:
        ids, logits = scan.columns.reaching(np.float32(scan.peak) + self._floor)
        weights = logits - scan.peak
        weights *= 1.0 / self._temperature
        sums = RunningSums(np.exp(weights, out=weights))
        return int(ids[sums.exceeding(self._uniform.next() * sums.total)])

    def close(self) -> None: ...


class AnyToken:
    """Temperature alone: every token as often as it is likely."""

    def __init__(self, temperature: float, uniform: Uniform) -> None:
        self._temperature = temperature
        self._uniform = uniform
        self.largest = 0

    def choose(self, scan: Scan) -> int:
        return scan.weights(self._temperature).draw(self._uniform.next())

    def close(self) -> None: ...
