"""llguidance's matcher behind the engine's `Constraint`. One answer, one thread at a time.

Errors of llguidance never raise there, they are polled; here every one of them raises, so that
nothing is let through once a matcher has failed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher

from localserve.engine.constraint import ConstraintFailed

T = TypeVar("T")

BITS = 32
"""Tokens in a word of a mask."""

FEW = 8
"""Where at most one word of so many allows a token, tokens are picked out one by one."""

LONGEST_REASON = 300


class MatcherConstraint:
    """Implements `engine.constraint.Constraint`. `ends` are the tokens that end an answer."""

    def __init__(self, matcher: LLMatcher, size: int, ends: tuple[int, ...]) -> None:
        self._matcher = matcher
        self._size = size
        self._ends = frozenset(ends)
        self._end_ids = np.array(ends, dtype=np.int64)

    def allows(self, token: int) -> bool:
        if token in self._ends:
            return self._asked(self._matcher.is_accepting)
        return self._asked(lambda: self._matcher.validate_tokens([token])) == 1

    def restrict(self, row: npt.NDArray[np.float32]) -> None:
        words = np.frombuffer(self._asked(self._matcher.compute_bitmask), dtype=np.uint32)
        kept_ends = row[self._end_ids] if self._asked(self._matcher.is_accepting) else None
        some = words.nonzero()[0]
        if len(some) * FEW <= len(words):
            bits = np.unpackbits(words[some].view(np.uint8), bitorder="little")
            places = bits.reshape(-1, BITS).nonzero()
            ids = some[places[0]] * BITS + places[1]
            ids = ids[ids < self._size]
            kept = row[ids]
            row.fill(-np.inf)
            row[ids] = kept
        else:
            allowed = np.unpackbits(words.view(np.uint8), bitorder="little", count=self._size)
            row[allowed == 0] = -np.inf
        row[self._end_ids] = -np.inf if kept_ends is None else kept_ends

    def accept(self, token: int) -> None:
        if token not in self._ends:
            self._asked(lambda: self._matcher.consume_token(token))

    @property
    def complete(self) -> bool:
        return self._asked(self._matcher.is_stopped)

    def _asked(self, question: Callable[[], T]) -> T:
        """The matcher's answer, if it has not failed. Raises: ConstraintFailed."""
        try:
            answer = question()
        except Exception as failure:
            raise ConstraintFailed(brief(str(failure))) from failure
        except BaseException as panic:
            if type(panic).__module__ != "pyo3_runtime":
                raise
            raise ConstraintFailed(brief(str(panic))) from panic
        if self._matcher.is_error():
            raise ConstraintFailed(brief(self._matcher.get_error()))
        return answer


def brief(reason: str) -> str:
    """llguidance's reason as a part of one line."""
    line = " ".join(reason.split()).rstrip(".")
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "..."
