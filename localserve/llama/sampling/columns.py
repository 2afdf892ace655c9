"""The largest logits of a row, found exactly without sorting it.

The row is laid out as a few long lines, one below the other, so that the maxima of all columns come
of a few elementwise maxima, at the speed of memory. The k-th largest of these maxima is a threshold
that at least k logits reach, and the columns below it hold none that does: only the others are
looked into. Maxima of short blocks that lie one behind the other say the same and take fifteen
times as long to find.
"""

from __future__ import annotations

import numpy as np

from localserve.llama.sampling.row import CACHE_LINE, Ids, Row, checked_peak, empty_row

MOST_LINES = 32
COLUMNS_PER_LARGEST = 32
"""Enough columns that the largest logits seldom share one."""

PIECE = 4_800
"""Columns whose maxima are found at a time: these stay in the innermost cache meanwhile."""

LOWEST = np.finfo(np.float32).min
"""Logits below it are -inf: their tokens have no probability and are no candidates."""


class Near:
    """All logits of some columns, in order of their ids.

    `rest` is how far below a logit the other columns' maxima are, each the largest of `lines`
    logits at most; in the place of the columns that are looked into stands -inf.
    """

    def __init__(self, table: Row, maxima: Row, columns: Ids, peak: np.float32) -> None:
        """`table` has the lines of whole columns; the maxima beyond them are the row's end."""
        self.lines, self._width = table.shape
        count = int(columns.searchsorted(self._width))
        self._columns, self._end = columns[:count], columns[count:]
        self.logits: Row = table.take(self._columns, axis=1).ravel()
        if len(self._end):
            self.logits = np.concatenate([self.logits, maxima.take(self._end)])
        self.rest: Row = maxima - peak
        self.rest[columns] = -np.inf

    def id_at(self, place: int) -> int:
        """The id of a logit."""
        count = len(self._columns)
        beyond = place - self.lines * count
        if beyond >= 0:
            return (self.lines - 1) * self._width + int(self._end[beyond])
        line, column = divmod(place, count)
        return line * self._width + int(self._columns[column])


class Columns:
    """Reads rows of `size` logits. Keeps the maxima of the row that was read last, and that row."""

    def __init__(self, size: int, most: int) -> None:
        """`most` is how many largest logits will be asked for; it decides the layout."""
        self._size = size
        self._lines = max(1, min(MOST_LINES, size // (COLUMNS_PER_LARGEST * max(1, most))))
        self._width = size // self._lines // CACHE_LINE * CACHE_LINE
        self._whole = self._lines * self._width
        # What fills no line is the end of the last one: columns of one logit.
        self._maxima = empty_row(self._width + size - self._whole)
        self._heads = self._maxima[: self._width]
        self._starts = (np.arange(self._lines) * self._width)[:, None]
        self._row: Row = self._maxima
        self._table: Row = self._heads[None, :]

    @property
    def count(self) -> int:
        """How many columns there are."""
        return len(self._maxima)

    def read(self, row: Row) -> float:
        """Take the row; returns its largest logit. Raises: NoChoice where that is no number."""
        self._row = row
        table = self._table = row[: self._whole].reshape(self._lines, self._width)
        for start in range(0, self._width, PIECE):
            piece = slice(start, start + PIECE)
            np.maximum.reduce(table[:, piece], axis=0, out=self._heads[piece])
        if self._whole < self._size:
            self._maxima[self._width :] = row[self._whole :]
        return checked_peak(float(np.maximum.reduce(self._maxima)), self._size)

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

    def reached(self, threshold: np.float32) -> int:
        """How many of the columns reach the threshold."""
        return int(np.count_nonzero(self._maxima >= threshold))

    def near(self, threshold: np.float32, peak: np.float32, most: int) -> Near | None:
        """The columns that reach a threshold, which one at least does, and how far below the
        largest logit the others are; None where there are more than `most`."""
        hit = self._maxima >= threshold
        if np.count_nonzero(hit) > most:
            return None
        return Near(self._table, self._maxima, hit.nonzero()[0], peak)

    def largest(self, count: int) -> tuple[Ids, Row]:
        """Ids and logits of the `count` largest, largest first, of equal ones the lower id first.

        Fewer where fewer are finite.
        """
        ids, logits = self.reaching(self.threshold(count))
        order = np.argsort(-logits, kind="stable")[:count]
        return ids.take(order), logits.take(order)

    def _ids_in(self, columns: Ids) -> Ids:
        """The ids of all logits in the columns, ascending."""
        if columns[-1] < self._width:
            return (self._starts + columns).ravel()
        inner = columns[: np.searchsorted(columns, self._width)]
        end = columns[len(inner) :] + (self._whole - self._width)
        return np.concatenate([(self._starts + inner).ravel(), end])
