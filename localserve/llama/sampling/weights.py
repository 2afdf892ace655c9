"""exp(logit / temperature) over a whole vocabulary: its sum, and a draw by it without a sort."""

from __future__ import annotations

import math
import threading

import numpy as np

from localserve.llama.sampling.row import Row, empty_row
from localserve.llama.sampling.sums import RunningSums

SAFE_EXPONENT = 40.0
"""A largest logit within it needs no shift: float32 holds its exponential, and those of all logits
that are not negligible beside it."""


class Workspace(threading.local):
    """Memory for what is computed of one row at a time, shared by all samplers; each thread has its
    own.

    New arrays of this size would be given by the kernel and taken back at each token: a page fault
    for every 1,024 logits costs more than the arithmetic.
    """

    def __init__(self, size: int) -> None:
        self.weights: Row = empty_row(size)
        """Of temperature 1."""
        self.other: Row = empty_row(size)
        """Weights of another temperature, or whatever is needed between two steps."""
        self.mask = np.empty(size, dtype=np.bool_)


class Weights:
    """The weights of a row, exp(logit / temperature - shift)."""

    def __init__(self, row: Row, peak: float, temperature: float, out: Row) -> None:
        """`peak` is the row's largest logit; the weights are kept in `out`."""
        self.shift = shift_of(peak, temperature)
        self._sums = RunningSums(weigh(row, peak, temperature, out=out))

    @property
    def total(self) -> float:
        return self._sums.total

    @property
    def log_total(self) -> float:
        """The logarithm of the sum of exp(logit / temperature)."""
        return math.log(self.total) + self.shift

    def draw(self, uniform: float) -> int:
        """The first token at which the sum of weights so far exceeds `uniform` (in [0, 1)) of all.

        Source: llama.cpp's `dist` sampler, which goes over the vocabulary in the same order.
        """
        return self._sums.exceeding(uniform * self.total)


def shift_of(peak: float, temperature: float) -> float:
    """What `weigh` subtracts from logit / temperature where the largest logit is `peak`."""
    top = peak / temperature
    return 0.0 if abs(top) <= SAFE_EXPONENT else top


def weigh(logits: Row, peak: float, temperature: float, out: Row | None = None) -> Row:
    """exp(logit / temperature - shift) of some logits of a row whose largest is `peak`."""
    scaled = logits
    if shift_of(peak, temperature):
        scaled = out = np.subtract(scaled, peak, out=out)
    if temperature != 1.0:
        scaled = out = np.multiply(scaled, 1.0 / temperature, out=out)
    return np.exp(scaled, out=out)
