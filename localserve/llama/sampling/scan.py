"""What is read of a row once, for the choice and for the log probabilities alike."""

from __future__ import annotations

import numpy as np

from localserve.llama.sampling.columns import Columns
from localserve.llama.sampling.row import Row
from localserve.llama.sampling.sums import sum_of_larger
from localserve.llama.sampling.weights import Weights, Workspace


class Scan:
    """One row at a time, of one sequence. Weights are computed when they are asked for."""

    def __init__(self, size: int, most: int, workspace: Workspace) -> None:
        """`most` is how many largest logits will be asked for."""
        self.columns = Columns(size, most)
        self.size = size
        self.peak = 0.0
        self._workspace = workspace
        self.row: Row = workspace.weights
        self._unit: Weights | None = None

    def read(self, row: Row) -> None:
        """Take the row. Raises: NoChoice."""
        self.row, self._unit = row, None
        self.peak = self.columns.read(row)

    @property
    def weighed(self) -> bool:
        """Whether the weights of temperature 1 are known already."""
        return self._unit is not None

    def weights(self, temperature: float) -> Weights:
        """The weights of the whole row; those of temperature 1 are computed once."""
        if temperature != 1.0:
            return Weights(self.row, self.peak, temperature, self._workspace.other)
        if self._unit is None:
            self._unit = Weights(self.row, self.peak, 1.0, self._workspace.weights)
        return self._unit

    def weight_before(self, token: int) -> float:
        """What all tokens that come before this one weigh together, at temperature 1: those that
        are likelier, and of equal ones those with a lower id. Weights of other temperatures are
        gone then."""
        total, weights = self.weights(1.0).total, self._workspace.weights
        logit, weight = self.row[token], weights[token]
        count = int(np.count_nonzero(np.greater(self.row, logit, out=self._workspace.mask)))
        larger = sum_of_larger(weights, weight, count, total, self._workspace.other)
        equal = int(np.count_nonzero(np.equal(self.row[:token], logit)))
        return larger + equal * float(weight)
