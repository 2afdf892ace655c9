"""What is read of a row once, for the choice and for the log probabilities alike."""

from __future__ import annotations

from localserve.llama.sampling.columns import Columns
from localserve.llama.sampling.row import Row
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
            self._unit = None  # its memory is used
            return Weights(self.row, self.peak, temperature, self._workspace)
        if self._unit is None:
            self._unit = Weights(self.row, self.peak, 1.0, self._workspace)
        return self._unit

    def lend_workspace(self) -> Workspace:
        """The memory, for the caller's own use; the weights in it are gone."""
        self._unit = None
        return self._workspace
