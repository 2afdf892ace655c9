"""How many prompt tokens a step may compute beside running answers. Pure.

A step that also serves streams must not take longer than its budget. What a prompt token costs on
this machine, with this model, at this depth is not known beforehand: it is measured step by step.
"""

from __future__ import annotations

from localserve.engine.guessing import StepCosts

SMOOTHING = 0.3
"""Weight of the newest measurement: a few steps are enough to follow a machine that slows down."""

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

CLOCK_SECONDS = 1e-6
"""A clock may be too coarse to see a short step; no step is taken to be free."""


class Pacer:
    """Keeps steps within `budget_seconds` by two running means: a step without prompt tokens, and
    what each prompt token adds to it."""

    def __init__(self, budget_seconds: float, batch_tokens: int) -> None:
        self._budget_seconds = budget_seconds
        self.batch_tokens = batch_tokens
        self.costs = StepCosts()
        self._answer_step_seconds: float | None = None
        self._prompt_token_seconds: float | None = None

    def chunk_tokens(self, answering: int) -> int:
        """Prompt tokens for the next step, beside `answering` sequences of one token each."""
        room = max(1, self.batch_tokens - answering)
        if answering == 0:
            return self._alone(room)
        if self._prompt_token_seconds is None:
            return min(FIRST_CHUNK, room)
        left = self._budget_seconds - (self._answer_step_seconds or 0.0)
        return min(room, max(SMALLEST_CHUNK, int(left / self._prompt_token_seconds)))

    def _alone(self, room: int) -> int:
        """Whole chunks, but where they would take too long for whoever comes meanwhile."""
        if self._prompt_token_seconds is None:
            return room
        return min(room, max(FIRST_CHUNK, int(ALONE_SECONDS / self._prompt_token_seconds)))

    def longest_guess_seconds(self, answering: int) -> float:
        """A step with guesses keeps to the budget too, but where it is its own stream that waits
        for nothing else."""
        return self._budget_seconds if answering > 1 else LONE_GUESS_SECONDS

    def side_work_seconds(self, answering: int) -> float:
        """How long a step may take for what is neither answer nor prompt."""
        share = SIDE_WORK_SHARE if answering else SIDE_WORK_SHARE_ALONE
        return self._budget_seconds * share

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
        if prompt_tokens == 0:
            self._answer_step_seconds = _mean(self._answer_step_seconds, seconds)
            return
        beside = (self._answer_step_seconds or 0.0) if answering else 0.0
        cost = max(seconds - beside, seconds * 0.1, CLOCK_SECONDS) / prompt_tokens
        if answering or prompt_tokens >= FIRST_CHUNK:
            self._prompt_token_seconds = _mean(self._prompt_token_seconds, cost)


def _mean(before: float | None, newest: float) -> float:
    return newest if before is None else before + SMOOTHING * (newest - before)
