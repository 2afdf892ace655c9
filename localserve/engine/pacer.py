"""How many prompt tokens a step may compute beside running answers. Pure.

A step that also serves streams must not take longer than its budget. What a prompt token costs on
this machine, with this model, at this depth is not known beforehand: it is measured step by step,
and so is the budget itself where nobody has set one (`frontier.py`).
"""

from __future__ import annotations

from localserve.engine.frontier import CLOCK_SECONDS, FEW_ROWS, ROWS, TILE, Frontier, mean
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

FORGETTING = 0.99
"""What a tile cost when it was too long counts less with each step, so that it is tried again."""

NEARLY_A_TILE = 0.9
"""So much of a tile is rounded up: it would take no less time."""


class Pacer:
    """Keeps steps within a budget by running means: a step without prompt tokens, and what each
    prompt token adds to it, in steps of whole tiles and in smaller ones. Without `budget_seconds`
    the budget is the machine's own."""

    def __init__(self, budget_seconds: float | None, batch_tokens: int) -> None:
        self._given_seconds = budget_seconds
        self.batch_tokens = batch_tokens
        self.costs = StepCosts()
        self._frontier = Frontier(batch_tokens)
        self._answer_step_seconds: float | None = None
        self._tiled_token_seconds: float | None = None
        self._few_token_seconds: float | None = None

    @property
    def _token_seconds(self) -> float | None:
        """What a token of a long prompt costs."""
        return self._tiled_token_seconds or self._few_token_seconds

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
        if self._token_seconds is None:
            return min(room, _whole_rows(FIRST_CHUNK, answering))
        beside = (self._answer_step_seconds or 0.0) if answering else 0.0
        left = self.budget_seconds - beside
        chunk = max(SMALLEST_CHUNK, self._tokens_within(left, answering))
        return min(room, _whole_rows(chunk, answering))

    def _tokens_within(self, seconds: float, answering: int) -> int:
        few = self._few_token_seconds
        if self._given_seconds is None and self._frontier.chosen_tokens is not None:
            return self._frontier.chosen_tokens - answering
        if self._tiled_token_seconds is not None:
            tiled = int(seconds / self._tiled_token_seconds)
            if tiled + answering >= NEARLY_A_TILE * TILE:
                return max(tiled, TILE - answering)
            few = few or self._tiled_token_seconds
            self._tiled_token_seconds *= FORGETTING
            return min(int(seconds / few), TILE - answering - 1)
        assert few is not None
        return int(seconds / few)

    def first_part(self, pending: int, chunk: int, answering: int) -> int:
        """Of what is left of one prompt, so much now: what whole chunks of tiles leave over comes
        first, for attention to it would be slow behind all the rest."""
        return chunk if chunk + answering < TILE else pending % chunk or chunk

    def _alone(self, room: int) -> int:
        """Whole chunks, but where they would take too long for whoever comes meanwhile."""
        if self._token_seconds is None:
            return room
        chunk = max(FIRST_CHUNK, int(ALONE_SECONDS / self._token_seconds))
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
        each = self._token_seconds
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
        if tokens >= TILE:
            self._tiled_token_seconds = mean(self._tiled_token_seconds, cost)
        elif answering or prompt_tokens >= FIRST_CHUNK:
            self._few_token_seconds = mean(self._few_token_seconds, cost)


def _whole_rows(chunk: int, answering: int) -> int:
    """At most `chunk` prompt tokens, so that with the answers' all are multiplied together."""
    total = chunk + answering
    at_a_time = TILE if total >= TILE else ROWS if total >= 2 * ROWS else FEW_ROWS
    whole = total - total % at_a_time
    return whole - answering if whole - answering >= FEW_ROWS else chunk
