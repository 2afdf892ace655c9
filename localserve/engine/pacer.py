"""How many prompt tokens a step may compute beside running answers. Pure.

A step that also serves streams must not take longer than its budget. What a prompt token costs on
this machine, with this model, at this depth is not known beforehand: it is measured step by step,
and so is the budget itself where nobody has set one (`frontier.py`).
"""

from __future__ import annotations

from localserve.engine.frontier import CLOCK_SECONDS, Frontier, mean
from localserve.engine.guessing import StepCosts

SMALLEST_CHUNK = 8
"""A prompt always advances, even where the answers alone use up the budget."""

FIRST_CHUNK = 32
"""Before anything was measured."""

ALONE_SECONDS = 8.0
"""The most that a step may take while nobody streams: a new request waits for its end."""

LONE_GUESS_SECONDS = 2.0
"""The most that a step with guesses may take where a single answer is computed."""

SIDE_WORK_SHARE = 0.1
"""Of a step's budget, for states that are copied to or from the disk while answers run."""

SIDE_WORK_SHARE_ALONE = 0.5
"""The same where nobody streams."""

ROWS, FEW_ROWS = 16, 4
"""llama.cpp's processor kernels multiply 16 tokens at a time, then 4; each token that is left over
costs as much as a step of one. Source: forward_mul_mat_one_chunk and ggml_gemm_q4_K_8x8_q8_K in
ggml-cpu."""


class Pacer:
    """Keeps steps within a budget by two running means: a step without prompt tokens, and what each
    prompt token adds to it. Without `budget_seconds` the budget is the machine's own."""

    def __init__(self, budget_seconds: float | None, batch_tokens: int) -> None:
        self._given_seconds = budget_seconds
        self.batch_tokens = batch_tokens
        self.costs = StepCosts()
        self._frontier = Frontier(batch_tokens)
        self._answer_step_seconds: float | None = None
        self._prompt_token_seconds: float | None = None

    @property
    def budget_seconds(self) -> float:
        """The longest that a step may take while answers run."""
        return self._frontier.budget_seconds if self._given_seconds is None else self._given_seconds

    def chunk_tokens(self, answering: int, *, hurry: bool = False) -> int:
        """Prompt tokens for the next step, beside `answering` sequences of one token each; with
        `hurry` the step keeps to its budget even if nobody streams."""
        room = max(1, self.batch_tokens - answering)
        if answering == 0 and not hurry:
            return self._alone(room)
        if self._prompt_token_seconds is None:
            return min(room, _whole_rows(FIRST_CHUNK, answering))
        beside = (self._answer_step_seconds or 0.0) if answering else 0.0
        left = self.budget_seconds - beside
        chunk = max(SMALLEST_CHUNK, int(left / self._prompt_token_seconds))
        return min(room, _whole_rows(chunk, answering))

    def _alone(self, room: int) -> int:
        """Whole chunks, but where they would take too long for whoever comes meanwhile."""
        if self._prompt_token_seconds is None:
            return room
        chunk = max(FIRST_CHUNK, int(ALONE_SECONDS / self._prompt_token_seconds))
        return min(room, _whole_rows(chunk, 0))

    def longest_guess_seconds(self, answering: int) -> float:
        """A step with guesses keeps to the budget too, but where it is its own stream that waits
        for nothing else."""
        return self.budget_seconds if answering > 1 else LONE_GUESS_SECONDS

    def side_work_seconds(self, answering: int) -> float:
        """How long a step may take for what is neither answer nor prompt."""
        share = SIDE_WORK_SHARE if answering else SIDE_WORK_SHARE_ALONE
        return self.budget_seconds * share

    def prompt_seconds(self, tokens: int) -> float | None:
        """How long it should take to compute so much of a prompt; None before it was measured."""
        each = self._prompt_token_seconds
        return None if each is None else each * tokens

    def observe(self, answering: int, prompt_tokens: int, seconds: float, guessed: int = 0) -> None:
        """Learn from a step that was computed."""
        tokens = answering + prompt_tokens + guessed
        self.costs.observe(tokens, seconds, prompts=prompt_tokens > 0)
        if guessed:
            return
        self._frontier.observe(answering, prompt_tokens, seconds)
        if prompt_tokens == 0:
            self._answer_step_seconds = mean(self._answer_step_seconds, seconds)
            return
        beside = (self._answer_step_seconds or 0.0) if answering else 0.0
        cost = max(seconds - beside, seconds * 0.1, CLOCK_SECONDS) / prompt_tokens
        if answering or prompt_tokens >= FIRST_CHUNK:
            self._prompt_token_seconds = mean(self._prompt_token_seconds, cost)


def _whole_rows(chunk: int, answering: int) -> int:
    """At most `chunk` prompt tokens, so that with the answers' all are multiplied together."""
    total = chunk + answering
    whole = total - total % (ROWS if total >= 2 * ROWS else FEW_ROWS)
    return whole - answering if whole - answering >= FEW_ROWS else chunk
