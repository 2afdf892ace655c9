"""Kept answers by what their questions mean: vectors of questions, and which is near enough.

Questions are compared within a group only: of one model, one scope and with the same of everything
but the words. In memory alone. Lives on the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from localserve.response_cache.question import Key

MOST_QUESTIONS: Final = 4096
"""Of all groups together; the oldest go first."""

Vector = npt.NDArray[np.float32]
"""Of length 1. Shape (dimensions,)."""


@dataclass(frozen=True, slots=True)
class Similar:
    """An answer, and how far its question is: 0 means the same, 1 nothing in common."""

    key: Key
    distance: float


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    group: Key
    vector: Vector
    expires_at: float


class SimilarQuestions:
    """The questions whose answers are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()

    def add(self, group: Key, vector: Vector, key: Key, expires_at: float) -> None:
        """The answer to this question is kept under `key` until then."""
        self._kept.pop(key, None)
        self._kept[key] = _Kept(group, vector, expires_at)
        if len(self._kept) > MOST_QUESTIONS:
            self._kept.popitem(last=False)

    def drop(self, key: Key) -> None:
        """Its answer is gone. Harmless where it is not known."""
        self._kept.pop(key, None)

    def nearest(self, group: Key, vector: Vector, now: float) -> Similar | None:
        """The question of the group that is nearest; None where there is none."""
        near = [
            (key, one.vector)
            for key, one in self._kept.items()
            if one.group == group and one.expires_at > now and one.vector.shape == vector.shape
        ]
        if not near:
            return None
        products = np.stack([one for _, one in near]) @ vector
        best = int(np.argmax(products))
        return Similar(near[best][0], max(0.0, 1.0 - float(products[best])))
