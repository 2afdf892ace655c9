"""Chooses the next token of one sequence, as llama.cpp's sampler chain would. Used by one
thread at a time, which may be one of `row_pool.py`.

llama.cpp's chain over a whole vocabulary of 150,000 costs up to tens of milliseconds a token. The
same tokens come, for a few passes over the row at most, from what `sampling/` knows.

A constraint is asked about the token that was drawn, and only where it refuses is the row
restricted and drawn from once more. With p the chance of an allowed token in the whole row and Z
that of all allowed ones together, it is drawn with p + (1 - Z) p / Z = p / Z: just as if the row
had been restricted at first. Where top-k, top-p, min-p or typical sampling cut the row, the first
draw is from the uncut row's best and the second from the restricted row's best, so tokens that are
among the former come a little more often than by a cut of the restricted row alone. Source:
llama.cpp's common_sampler, which does the same unless `grammar_first` is set.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localserve.chat import Sampling
from localserve.engine.constraint import Constraint, ConstraintFailed
from localserve.engine.runner import Sampled, Steer, TokenScore
from localserve.llama.sampling.adjustments import Adjustments
from localserve.llama.sampling.choices import choice_of
from localserve.llama.sampling.row import NoChoice, Row, checked_peak
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.scores import Scores
from localserve.llama.sampling.sure import Words
from localserve.llama.sampling.weights import Workspace


class LlamaSampler:
    """Implements `engine.runner.Sampler`; keeps its random state and recent tokens."""

    def __init__(
        self,
        sampling: Sampling,
        *,
        history: Sequence[int],
        top_logprobs: int | None,
        banned: Sequence[int],
        workspace: Workspace,
        steer: Steer | None = None,
        constraint: Constraint | None = None,
        words: Words | None = None,
    ) -> None:
        """`workspace` is for rows of the vocabulary's size, and shared with other samplers."""
        size = len(workspace.weights)
        self._top_logprobs = top_logprobs
        self._steer = steer
        self._constraint = constraint
        self._adjustments = Adjustments(sampling, history, banned)
        self._choice = choice_of(sampling, size, words)
        largest = 0 if self._choice is None else self._choice.largest
        self._scan = Scan(size, max(largest, top_logprobs or 0), workspace)

    def sample(self, row: Row) -> Sampled:
        """The next token. Writes to `row`. Raises: NoChoice, ConstraintFailed."""
        if self._choice is None and self._top_logprobs is None:
            self._adjustments.apply(row)
            return self._sampled(self._choose(row))
        with np.errstate(over="ignore"):  # a weight may be 0: some models mask by the lowest float
            if self._top_logprobs is not None:
                return self._sample_scored(row, self._top_logprobs)
            self._adjustments.apply(row)
            self._scan.read(row)
            return self._sampled(self._choose(row))

    def _sample_scored(self, row: Row, count: int) -> Sampled:
        self._scan.read(row)
        scores = Scores(self._scan, count)
        before = row
        if self._adjustments.any or self._constraint is not None:
            before = row.copy()
            self._adjustments.apply(row)
            self._scan.read(row)
        token = self._choose(row)
        return self._sampled(token, scores.of(token, before), scores.top)

    def _sampled(
        self, token: int, score: TokenScore | None = None, top: tuple[TokenScore, ...] = ()
    ) -> Sampled:
        complete = self._constraint is not None and self._constraint.complete
        return Sampled(token, score, top, complete)

    def _choose(self, row: Row) -> int:
        """Choose from the adjusted row, which the scan has read if it is not greedy."""
        token = self._draw(row)
        if self._constraint is not None and not self._constraint.allows(token):
            token = self._draw_allowed(row, self._constraint)
        if self._steer is not None:
            token = self._steer(token)
        if self._constraint is not None:
            self._constraint.accept(token)
        self._adjustments.accept(token)
        return token

    def _draw(self, row: Row) -> int:
        if self._choice is not None:
            return self._choice.choose(self._scan)
        token = int(row.argmax())
        checked_peak(float(row[token]), len(row))
        return token

    def _draw_allowed(self, row: Row, constraint: Constraint) -> int:
        """Draw once more, from what the constraint leaves of the row."""
        constraint.restrict(row)
        try:
            if self._choice is not None:
                self._scan.read(row)
            return self._draw(row)
        except NoChoice as failure:
            raise ConstraintFailed(
                "none of the tokens that may come next has a probability above 0"
            ) from failure

    def close(self) -> None:
        """Free what llama.cpp holds. Harmless when called twice."""
        if self._choice is not None:
            self._choice.close()
