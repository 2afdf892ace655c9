"""How long a step should take beside running answers: the machine's own curve. Pure.

A long step lets streams wait, a short one computes few prompt tokens at once, and few cost more
each: weights are read, and unpacked, for all of a step's tokens together. How much more is this
machine's and this model's affair, so it is measured while serving. The budget is the shortest step
in which a prompt still comes to `WORTH` of the rate that it has alone, and none longer than one of
`TILE` tokens.
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

ROWS: Final = 16
FEW_ROWS: Final = 4
"""llama.cpp's processor kernels multiply 16 tokens at a time, then 4; each token that is left over
costs as much as a step of one. Source: forward_mul_mat_one_chunk and ggml_gemm_q4_K_8x8_q8_K in
ggml-cpu."""

TILE: Final = 64
"""Their attention takes 64 tokens at a time; a step of fewer goes another way, which behind 1,000
tokens takes as long for 32 as this for 64, and is slow for what 64 leaves over. Source:
GGML_FA_TILE_Q and ggml_compute_forward_flash_attn_ext_f16 in ggml-cpu."""

_TOTALS: Final = np.array(
    [*range(8, 32, FEW_ROWS), *range(32, TILE, ROWS), *range(TILE, 513, TILE)], dtype=np.float64
)
"""Tokens of a step that kernels take without a rest: the first that is worth it is chosen."""

SLACK: Final = 1.1
"""So that noise, or what lies before a prompt's end, does not cost a step its tile."""


class Frontier:
    """Learns what steps take by their prompt tokens, and how quick a prompt is alone."""

    def __init__(self, batch_tokens: int) -> None:
        self._telling_tokens = max(1, int(batch_tokens * TELLING_SHARE))
        # What prompt tokens add to a step of answers, by all tokens of that step.
        self._beside = StepCosts(rising=SMOOTHING)
        self._beside.observe(1, 0.0)
        self._answering = 1
        self._answers_seconds: float | None = None
        self._alone_rate: float | None = None
        self.budget_seconds = UNMEASURED_SECONDS
        self.chosen_tokens: int | None = None
        """Of the whole step, where the budget is that of a step that was chosen; None where it is a
        bound. What a token costs changes with what lies before it, the choice less so."""

    def observe(self, answering: int, prompt_tokens: int, seconds: float) -> None:
        """Learn from a step that was computed; `budget_seconds` follows."""
        seconds = max(seconds, CLOCK_SECONDS)
        if not prompt_tokens:
            self._answers_seconds = mean(self._answers_seconds, seconds)
            return
        if answering:
            self._answering = answering
            added = max(seconds - (self._answers_seconds or 0.0), CLOCK_SECONDS)
            self._beside.observe(answering + prompt_tokens, added)
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
        seconds = (self._answers_seconds or 0.0) + self._beside.seconds_of(_TOTALS)
        known = (sizes > 0) & ~np.isnan(seconds)
        if not known.any():
            return UNMEASURED_SECONDS
        worth = known & ((sizes >= WORTH * self._alone_rate * seconds) | (_TOTALS >= TILE))
        wanted = float(seconds[worth][0]) if worth.any() else 2 * float(seconds[known][-1])
        first = int(_TOTALS[worth][0]) if worth.any() else 0
        longest = 2 * LONGEST_SECONDS if first == TILE else LONGEST_SECONDS
        self.chosen_tokens = first if first and SHORTEST_SECONDS <= wanted <= longest else None
        return min(max(SLACK * wanted, SHORTEST_SECONDS), LONGEST_SECONDS)


def mean(before: float | None, newest: float) -> float:
    """A running mean; a few steps are enough to follow a machine that slows down."""
    return newest if before is None else before + SMOOTHING * (newest - before)
