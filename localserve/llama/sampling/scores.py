"""Log probabilities of the chosen token and of the best, before any bias, penalty or filter."""

from __future__ import annotations

from localserve.engine.runner import TokenScore
from localserve.llama.sampling.row import Row
from localserve.llama.sampling.scan import Scan


class Scores:
    """Of the row that `scan` has read; taken before the row is changed."""

    def __init__(self, scan: Scan, count: int) -> None:
        """`count` is how many of the best are wanted."""
        self._log_total = scan.weights(1.0).log_total
        self.top: tuple[TokenScore, ...] = ()
        if count:
            ids, logits = scan.columns.largest(count)
            self.top = tuple(map(self._score, ids.tolist(), logits.tolist()))

    def of(self, token: int, row: Row) -> TokenScore:
        """The chosen token's; `row` is as it was read."""
        return self._score(token, float(row[token]))

    def _score(self, token: int, logit: float) -> TokenScore:
        return TokenScore(token, logit - self._log_total)
