"""What changes logits before a token is chosen: biases, bans and penalties.

They touch few tokens, so they are applied to these in the row itself; whatever looks for the
largest logits afterwards sees what rose and what sank.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from localserve.chat import Sampling
from localserve.llama.sampling.row import Row


class Adjustments:
    """Biases first, then penalties, as in llama.cpp's order; keeps the tokens it was told of."""

    def __init__(self, sampling: Sampling, history: Sequence[int], banned: Sequence[int]) -> None:
        bias = dict(sampling.logit_bias or ())
        bias.update((token, -np.inf) for token in banned)
        self._biased = np.fromiter(bias.keys(), dtype=np.int64, count=len(bias))
        self._bias = np.fromiter(bias.values(), dtype=np.float32, count=len(bias))
        self._penalties = make_penalties(sampling, history)

    @property
    def any(self) -> bool:
        """Whether `apply` changes the next row."""
        penalties = self._penalties
        return len(self._bias) > 0 or (penalties is not None and penalties.any)

    def apply(self, row: Row) -> None:
        """Change the row in place."""
        if len(self._bias):
            row[self._biased] += self._bias
        if self._penalties is not None:
            self._penalties.apply(row)

    def accept(self, token: int) -> None:
        """The token was chosen."""
        if self._penalties is not None:
            self._penalties.accept(token)


class Penalties:
    """Repetition, frequency and presence penalties over the last `window` tokens.

    Source: llama.cpp's sampler of that name.
    """

    def __init__(
        self,
        repeat: float,
        frequency: float,
        presence: float,
        window: int | None,
        history: Sequence[int],
    ) -> None:
        """`window` None is all tokens. `history` are the tokens so far."""
        self._repeat = repeat
        self._frequency = frequency
        self._presence = presence
        self._window: deque[int] = deque(history, maxlen=window)
        # Parallel arrays of the tokens in the window and how often they stand there.
        counts = Counter(self._window)
        self._places: dict[int, int] = {token: place for place, token in enumerate(counts)}
        self._tokens = np.empty(max(64, 2 * len(counts)), dtype=np.int64)
        self._counts = np.empty(len(self._tokens), dtype=np.float32)
        self._tokens[: len(counts)] = list(counts.keys())
        self._counts[: len(counts)] = list(counts.values())

    @property
    def any(self) -> bool:
        return bool(self._places)

    def accept(self, token: int) -> None:
        if len(self._window) == self._window.maxlen:
            self._forget(self._window[0])
        self._window.append(token)
        place = self._places.get(token)
        if place is None:
            self._add(token)
        else:
            self._counts[place] += 1

    def apply(self, row: Row) -> None:
        count = len(self._places)
        if not count:
            return
        tokens = self._tokens[:count]
        logits = row.take(tokens)
        if self._repeat != 1.0:
            with np.errstate(all="ignore"):  # what is no number any more is found by the choice
                logits = np.where(logits <= 0, logits * self._repeat, logits / self._repeat)
        logits -= self._counts[:count] * self._frequency + self._presence
        row[tokens] = logits

    def _add(self, token: int) -> None:
        place = self._places[token] = len(self._places)
        if place == len(self._tokens):
            self._tokens = np.concatenate([self._tokens, np.empty_like(self._tokens)])
            self._counts = np.concatenate([self._counts, np.empty_like(self._counts)])
        self._tokens[place] = token
        self._counts[place] = 1

    def _forget(self, token: int) -> None:
        """One occurrence less; the last token of the arrays takes the place of one that is gone."""
        place = self._places[token]
        self._counts[place] -= 1
        if self._counts[place]:
            return
        del self._places[token]
        last = len(self._places)
        if place < last:
            moved = int(self._tokens[last])
            self._places[moved] = place
            self._tokens[place] = moved
            self._counts[place] = self._counts[last]


def make_penalties(sampling: Sampling, history: Sequence[int]) -> Penalties | None:
    """The penalties of a request with `history` behind it; None where there are none."""
    repeat = sampling.repeat_penalty or 1.0
    frequency = sampling.frequency_penalty or 0.0
    presence = sampling.presence_penalty or 0.0
    window = 64 if sampling.repeat_last_n is None else sampling.repeat_last_n
    if window == 0 or (repeat, frequency, presence) == (1.0, 0.0, 0.0):
        return None
    return Penalties(repeat, frequency, presence, window if window > 0 else None, history)
