"""A sample of a row's logits: about where the row would be, if it were sorted."""

from __future__ import annotations

import math

import numpy as np

from localserve.llama.sampling.row import Row
from localserve.llama.sampling.sums import RunningSums
from localserve.llama.sampling.weights import weigh

STRIDE = 31
"""Of so many logits one is in the sample; a prime, lest it meets a pattern of the vocabulary."""

DEVIATIONS = 3.0
"""How many standard deviations of a count the sample is trusted by."""


class Sample:
    """Some of a row's logits, ascending."""

    def __init__(self, row: Row, peak: float) -> None:
        """`peak` is the row's largest logit."""
        self.logits = np.sort(row[::STRIDE])
        self._sums = RunningSums(weigh(self.logits, peak, 1.0))

    def place(self, below: float) -> int:
        """Of the logit below which about so much weight of the row lies."""
        return self._sums.reaching(below / STRIDE)


def slack(count: int) -> int:
    """How many more logits of a sample there may be where `count` are expected."""
    return int(DEVIATIONS * (1.0 + math.sqrt(count)))
