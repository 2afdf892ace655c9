"""Only what is likely, or nothing: how the middle between two texts is written.

An answer ends where the model would rather end than go on, or where no token is likely. Of tokens
that begin alike the likeliest stands for all. Source: llama.cpp's sampler `infill`, whose
thresholds these are; that one ends the process where a vocabulary has no end token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from localserve.llama.sampling.row import Ids
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.uniform import Uniform

MOST_TOKENS = 64
"""Candidates that are compared with each other; a likely token is among far fewer."""

LIKELY = 0.2

END_WEIGHT = 3.0
"""An end counts so much more for each candidate that it stands against."""

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Words:
    """What is to be known of tokens. `end` ends an answer; None where it is to go on."""

    piece: Callable[[int], bytes]
    is_end: Callable[[int], bool]
    end: int | None


class SureOnly:
    """Draws from the likely ones of the largest logits."""

    def __init__(
        self,
        words: Words,
        uniform: Uniform,
        *,
        top_k: int,
        top_p: float,
        min_p: float,
        temperature: float,
    ) -> None:
        """`top_k` 0 is as many as are compared at all. At a `temperature` of 0 the likeliest is
        taken."""
        self._words = words
        self._uniform = uniform
        self._top_p = top_p
        self._min_p = min_p
        self._temperature = temperature
        self.largest = min(top_k or MOST_TOKENS, MOST_TOKENS)

    def choose(self, scan: Scan) -> int:
        uniform = self._uniform.next()
        ids, logits = scan.columns.largest(self.largest)
        shares = _shares(np.exp(logits.astype(np.float64) - scan.peak))
        kept = int(np.searchsorted(shares.cumsum(), self._top_p)) + 1 if self._top_p < 1.0 else None
        ids, shares = ids[:kept], _shares(shares[:kept])
        likely = shares >= self._min_p * shares[0]
        ids, shares = ids[likely], _shares(shares[likely])
        ends = np.array([self._words.is_end(int(token)) for token in ids])
        if END_WEIGHT * shares[ends].sum() * len(ids) > shares[~ends].sum():
            return self._draw(ids[ends], shares[ends], uniform)
        shares = _gathered([self._words.piece(int(token)) for token in ids], shares)
        sure = int(((shares >= LIKELY) & ~ends).sum())
        if not sure:
            return int(ids[shares.argmax()]) if self._words.end is None else self._words.end
        kept_now = (shares >= LIKELY) | ends
        ids, shares, ends = ids[kept_now], _shares(shares[kept_now]), ends[kept_now]
        kept_now = (shares >= 1.0 / (sure + 1)) | ends
        return self._draw(ids[kept_now], shares[kept_now], uniform)

    def close(self) -> None: ...

    def _draw(self, ids: Ids, shares: Shares, uniform: float) -> int:
        if not self._temperature:
            return int(ids[shares.argmax()])
        # Of the largest: by themselves all would be too small for a double where it is cold.
        sums = ((shares / shares.max()) ** (1.0 / self._temperature)).cumsum()
        place = int(np.searchsorted(sums, uniform * sums[-1], side="right"))
        return int(ids[min(place, len(ids) - 1)])


def _shares(weights: Shares) -> Shares:
    """The same in proportion, with a sum of 1."""
    shares: Shares = weights / weights.sum()
    return shares


def _gathered(pieces: list[bytes], shares: Shares) -> Shares:
    """The share of a token that another one begins with, or the other way round, goes to the
    likelier of both."""
    gathered = shares.copy()
    gone: set[int] = set()
    for first, piece in enumerate(pieces):
        for second, other in enumerate(pieces):
            if first in gone or not piece:
                break
            if first == second or second in gone or not other.startswith(piece):
                continue
            kept, lost = (first, second) if gathered[first] >= gathered[second] else (second, first)
            gathered[kept] += gathered[lost]
            gathered[lost] = 0.0
            gone.add(lost)
    return gathered
