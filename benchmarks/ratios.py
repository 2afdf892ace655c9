"""Medians of paired runs and their ratios. Knows nothing of servers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours over theirs: the ratio of the medians, and the least and most of the paired ratios."""

    value: float
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Goal:
    """What a ratio should be: at least, or at most, `bound`."""

    bound: float
    at_most: bool = False

    def is_met(self, ratio: float) -> bool:
        return ratio <= self.bound if self.at_most else ratio >= self.bound

    def __str__(self) -> str:
        digits = 2 if self.bound >= 0.1 else 3
        return f"{'≤' if self.at_most else '≥'} {self.bound:.{digits}f}"


def ratio_of_medians(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Compare two series whose values with the same index were measured one after the other.

    Raises: ValueError when the series are empty, differ in length or hold what is not positive.
    """
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} and {len(theirs)} runs cannot be compared in pairs")
    if min(*ours, *theirs) <= 0:
        raise ValueError("a ratio needs positive values")
    pairs = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Ratio(median(ours) / median(theirs), min(pairs), max(pairs))
