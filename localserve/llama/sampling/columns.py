"""The largest logits of a row, found exactly without sorting it.

The row is laid out as a few long lines, one below the other, so that the maxima of all columns come
of a few elementwise maxima, at the speed of memory. The k-th largest of these maxima is a threshold
that at least k logits reach, and the columns below it hold none that does: only the others are
looked into. Maxima of short blocks that lie one behind the other say the same and take fifteen
times as long to find.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localserve.llama.sampling.row import Ids, Row, checked_peak

MOST_LINES = 32
COLUMNS_PER_LARGEST = 32
"""Enough columns that the largest logits seldom share one."""

ROUGHLY = 4
"""A threshold that need not be exact is found by one of so many columns."""

LOWEST = np.finfo(np.float32).min
"""Logits below it are -inf: their tokens have no probability and are no candidates."""


@dataclass(frozen=True, slots=True)
class Near:
    """Ids and logits of some columns, all of them; every logit of the others is below `threshold`.

    Each of `other_maxima` is the largest of `lines` logits at most, or -inf.
    """

    threshold: np.float32
    ids: Ids
    logits: Row
    other_maxima: Row
    lines: int


class Columns:
    """Reads rows of `size` logits. Keeps the maxima of the row that was read last, and that row."""

    def __init__(self, size: int, most: int) -> None:
        """`most` is how many largest logits will be asked for; it decides the layout."""
        self._size = size
        self._lines = max(1, min(MOST_LINES, size // (COLUMNS_PER_LARGEST * max(1, most))))
        self._width = size // self._lines
        self._whole = self._lines * self._width
        # What fills no line is the end of the last one: columns of one logit.
        self._maxima = np.empty(self._width + size - self._whole, dtype=np.float32)
        self._heads = self._maxima[: self._width]
        self._starts = (np.arange(self._lines) * self._width)[:, None]
        self._row: Row = self._maxima

    def read(self, row: Row) -> float:
        """Take the row; returns its largest logit. Raises: NoChoice where that is no number."""
        self._row = row
        lines = row[: self._whole].reshape(self._lines, self._width)
        np.maximum.reduce(lines, axis=0, out=self._heads)
        if self._whole < self._size:
            self._maxima[self._width :] = row[self._whole :]
        return checked_peak(float(self._maxima.max()), self._size)

    def threshold(self, count: int) -> np.float32:
        """A value that at least `count` of the finite logits reach, or all of them."""
        maxima = self._maxima
        if count >= len(maxima):
            return LOWEST
        place = len(maxima) - count
        return np.maximum(np.partition(maxima, place)[place], LOWEST)

    def reaching(self, threshold: np.float32) -> tuple[Ids, Row]:
        """Ids and logits of all tokens whose logit reaches the threshold, in order of their ids."""
        hit = (self._maxima >= threshold).nonzero()[0]
        if 4 * len(hit) > len(self._maxima):
            ids = (self._row >= threshold).nonzero()[0]
            return ids, self._row.take(ids)
        among = self._ids_in(hit)
        logits = self._row.take(among)
        kept = (logits >= threshold).nonzero()[0]
        return among.take(kept), logits.take(kept)

    def near(self, count: int) -> Near:
        """About `count` columns, those with the largest maxima, and what is known of the others."""
        threshold = self._rough_threshold(count)
        hit = (self._maxima >= threshold).nonzero()[0]
        ids = self._ids_in(hit)
        others = self._maxima.copy()
        others[hit] = -np.inf
        return Near(threshold, ids, self._row.take(ids), others, self._lines)

    def most_reach(self, threshold: np.float32) -> bool:
        """Whether more than half of all logits reach the threshold."""
        if 2 * np.count_nonzero(self._maxima >= threshold) <= len(self._maxima):
            return False
        return 2 * int(np.count_nonzero(self._row >= threshold)) > self._size

    def largest(self, count: int) -> tuple[Ids, Row]:
        """Ids and logits of the `count` largest, largest first, of equal ones the lower id first.

        Fewer where fewer are finite.
        """
        ids, logits = self.reaching(self.threshold(count))
        order = np.argsort(-logits, kind="stable")[:count]
        return ids.take(order), logits.take(order)

    def _rough_threshold(self, count: int) -> np.float32:
        """A value that about `count` of the maxima reach, by every fourth of them; one does."""
        some = self._maxima[::ROUGHLY]
        place = len(some) - count // ROUGHLY
        if place <= 0:
            return LOWEST
        return np.maximum(np.partition(some, place)[place], LOWEST)

    def _ids_in(self, columns: Ids) -> Ids:
        """The ids of all logits in the columns, ascending."""
        if columns[-1] < self._width:
            return (self._starts + columns).ravel()
        inner = columns[: np.searchsorted(columns, self._width)]
        end = columns[len(inner) :] + (self._whole - self._width)
        return np.concatenate([(self._starts + inner).ravel(), end])
