"""Chooses the next token of one sequence, as llama.cpp's sampler chain would. Engine thread only.

llama.cpp's chain over a whole vocabulary of 150,000 costs up to tens of milliseconds a token. The
same tokens come, for a few passes over the row at most, from what `sampling/` knows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localserve.chat import Sampling
from localserve.engine.runner import Sampled, Steer
from localserve.llama.sampling.adjustments import Adjustments
from localserve.llama.sampling.choices import choice_of
from localserve.llama.sampling.row import Row, checked_peak
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
        words: Words | None = None,
    ) -> None:
        """`workspace` is for rows of the vocabulary's size, and shared with other samplers."""
        size = len(workspace.weights)
        self._top_logprobs = top_logprobs
        self._steer = steer
        self._adjustments = Adjustments(sampling, history, banned)
        self._choice = choice_of(sampling, size, words)
        largest = 0 if self._choice is None else self._choice.largest
        self._scan = Scan(size, max(largest, top_logprobs or 0), workspace)

    def sample(self, row: Row) -> Sampled:
        """The next token. Writes to `row`. Raises: NoChoice."""
        if self._choice is None and self._top_logprobs is None:
            self._adjustments.apply(row)
            return Sampled(self._choose(row))
        with np.errstate(over="ignore"):  # a weight may be 0: some models mask by the lowest float
            if self._top_logprobs is not None:
                return self._sample_scored(row, self._top_logprobs)
            self._adjustments.apply(row)
            self._scan.read(row)
            return Sampled(self._choose(row))

    def _sample_scored(self, row: Row, count: int) -> Sampled:
        self._scan.read(row)
        scores = Scores(self._scan, count)
        before = row
        if self._adjustments.any:
            before = row.copy()
            self._adjustments.apply(row)
            self._scan.read(row)
        token = self._choose(row)
        return Sampled(token, scores.of(token, before), scores.top)

    def _choose(self, row: Row) -> int:
        """Choose from the adjusted row, which the scan has read if it is not greedy."""
        if self._choice is None:
            token = int(row.argmax())
            checked_peak(float(row[token]), len(row))
        else:
            token = self._choice.choose(self._scan)
        if self._steer is not None:
            token = self._steer(token)
        self._adjustments.accept(token)
        return token

    def close(self) -> None:
        """Free what llama.cpp holds. Harmless when called twice."""
        if self._choice is not None:
            self._choice.close()
