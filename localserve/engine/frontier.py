"""How long a step should take beside running answers: the machine's own curve. Pure.

A long step lets streams wait, a short one computes few prompt tokens at once, and few cost more
each: weights are read, and unpacked, for all of a step's tokens together. How much more is this
machine's and this model's affair, so it is measured while serving. The budget is the shortest step
in which a prompt still comes to `WORTH` of the rate that it has alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from localserve.engine.guessing import StepCosts

WORTH: Final = 0.8
"""A long prompt beside a stream takes at most a quarter longer than alone."""

SHORTEST_SECONDS: Final = 0.125
"""Nobody sees gaps shorter than that, and each step has costs of its own."""

LONGEST_SECONDS: Final = 1.0
"""Longer ones are taken for a stall."""

UNMEASURED_SECONDS: Final = 0.5
"""Until a prompt was long enough to tell its rate."""

TELLING_SHARE: Final = 0.5
"""Of a whole batch: a prompt that is computed alone in fewer tokens at once tells nothing."""

SMOOTHING: Final = 0.3
"""Weight of the newest measurement."""

CLOCK_SECONDS: Final = 1e-6
"""A clock may be too coarse to see a short step; no step is taken to be free."""

_TOTALS: Final = np.array([*range(8, 32, 4), *range(32, 513, 16)], dtype=np.float64)
"""Tokens of a step that kernels take without a rest (`pacer.py`): the first that is worth it is
chosen."""

SLACK: Final = 1.05
"""So that noise does not cost a step its last row of tokens."""


class Frontier:
    """Learns what steps take by their prompt tokens, and how quick a prompt is alone."""

    def __init__(self, batch_tokens: int) -> None:
        self._telling_tokens = max(1, int(batch_tokens * TELLING_SHARE))
        self._beside = StepCosts()  # what prompt tokens add to a step of answers
        self._beside.observe(0, 0.0)
        self._answering = 1
        self._answers_seconds: float | None = None
        self._alone_rate: float | None = None
        self.budget_seconds = UNMEASURED_SECONDS

    def observe(self, answering: int, prompt_tokens: int, seconds: float) -> None:
        """Learn from a step that was computed; `budget_seconds` follows."""
        seconds = max(seconds, CLOCK_SECONDS)
        if not prompt_tokens:
            self._answers_seconds = mean(self._answers_seconds, seconds)
            return
        if answering:
            self._answering = answering
            added = max(seconds - (self._answers_seconds or 0.0), CLOCK_SECONDS)
            self._beside.observe(prompt_tokens, added)
        elif prompt_tokens >= self._telling_tokens:
            self._alone_rate = mean(self._alone_rate, prompt_tokens / seconds)
            added = max(seconds - (self._answers_seconds or 0.0), CLOCK_SECONDS)
            self._beside.observe(prompt_tokens, added)  # so that the first chunk is no guess
        self.budget_seconds = self._choose()

    def _choose(self) -> float:
        """The shortest step that is worth it; where none of those measured is, a longer one."""
        if self._alone_rate is None:
            return UNMEASURED_SECONDS
        sizes = _TOTALS - self._answering
        seconds = (self._answers_seconds or 0.0) + self._beside.seconds_of(sizes)
        known = (sizes > 0) & ~np.isnan(seconds)
        if not known.any():
            return UNMEASURED_SECONDS
        worth = known & (sizes >= WORTH * self._alone_rate * seconds)
        wanted = float(seconds[worth][0]) if worth.any() else 2 * float(seconds[known][-1])
        return min(max(SLACK * wanted, SHORTEST_SECONDS), LONGEST_SECONDS)


def mean(before: float | None, newest: float) -> float:
    """A running mean; a few steps are enough to follow a machine that slows down."""
    return newest if before is None else before + SMOOTHING * (newest - before)
