"""Guessing ahead, and what it is worth: prompt lookup, for answers that repeat what their
conversation holds. Pure. `drafting.py` has the guesses of a smaller model.

A guess is computed together with the token before it and taken as far as the model would have
said the same, so it changes how fast an answer comes, never what it says. What a guess costs is
this machine's own affair: a GPU computes eight tokens in the time of one, a processor may take
seven times as long. So how far to guess is decided by measured steps and by how well a sequence's
guesses have done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

SHORTEST_MATCH = 3
"""Tokens that must have stood in the same order before, for what followed them to be a guess."""

LENGTHS = (1, 2, 3, 5, 7, 11, 15, 23, 31, 47, 63, 95, 127)
"""How far a guess may reach, besides all that is known; with the token before it, a step has one
more."""

GAIN = 1.05
"""What a guess must promise over none: what is not worth that much is not worth its risk."""

PRIOR_TOKENS = 4.0
"""How many guessed tokens count as much as what was expected before any was tried."""

MEMORY = 0.9
"""What is left of earlier guesses' weight when a new one is settled."""


Guess = Sequence[int]
"""Token ids that may follow."""


class Guesser(Protocol):
    """Guesses what one sequence says next, and knows how well it does."""

    @property
    def confidence(self) -> float:
        """How likely the next guessed token is right, if those before it are."""
        ...

    def settle(self, guessed: int, right: int) -> None:
        """How a guess did: the first `right` of its `guessed` tokens were what the model said."""
        ...


class Record:
    """How guesses have done; older ones count less."""

    def __init__(self) -> None:
        self._right, self._wrong = 0.0, 0.0

    def settle(self, guessed: int, right: int) -> None:
        """One more guess, as in `Guesser.settle`."""
        self._right = MEMORY * self._right + right
        self._wrong = MEMORY * self._wrong + (right < guessed)

    @property
    def tried(self) -> float:
        """How many guessed tokens it rests on."""
        return self._right + self._wrong

    def confidence(self, expected: float) -> float:
        """As in `Guesser.confidence`, where `expected` was thought before any was tried."""
        return (PRIOR_TOKENS * expected + self._right) / (PRIOR_TOKENS + self.tried)


class StepCosts:
    """Seconds that a step takes, by how many tokens it computes, as measured: a running mean for
    each power of two, straight lines between them.

    A step of answers computes logits for all of its tokens, one of prompts for hardly any and is
    quicker: it only counts where no step of answers is known. What disturbs a step makes it slower,
    so the mean falls more quickly than it rises. A larger step takes no less than a smaller one:
    where it was measured so, the smaller one was disturbed, or is long ago.
    """

    RISING, FALLING = 0.1, 0.4

    def __init__(self, *, rising: float = RISING) -> None:
        self._rising = rising
        self._points: dict[int, _Point] = {}  # by the number of bits
        self._tokens: list[float] = []
        self._seconds: list[float] = []

    def observe(self, tokens: int, seconds: float, *, prompts: bool = False) -> None:
        """Learn from a step that was computed; `prompts` are among its tokens."""
        bucket = tokens.bit_length()
        old = self._points.get(bucket)
        if old is not None and prompts and not old.prompts:
            return
        new = _Point(float(tokens), seconds, prompts)
        if old is not None and old.prompts == prompts:
            weight = self._rising if seconds > old.seconds else self.FALLING
            new = _Point(
                old.tokens + weight * (tokens - old.tokens),
                old.seconds + weight * (seconds - old.seconds),
                prompts,
            )
        self._points[bucket] = new
        points = sorted(self._points.values())
        self._tokens = [point.tokens for point in points]
        least = accumulate((point.seconds for point in reversed(points)), min)
        self._seconds = list(least)[::-1]

    def stretched_seconds_of(self, tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """As `seconds_of`, and beyond what was measured at most: for fewer tokens the least, and as
        much longer as there are more."""
        least, most = (self._tokens[0], self._tokens[-1]) if self._tokens else (1.0, 1.0)
        return self.seconds_of(np.clip(tokens, least, most)) * np.maximum(tokens / most, 1.0)

    def seconds(self, tokens: int) -> float | None:
        """What a step of so many tokens takes; None where nothing measured tells."""
        if not self._tokens or not self._tokens[0] <= tokens <= self._tokens[-1]:
            return None
        return float(np.interp(tokens, self._tokens, self._seconds))

    def seconds_of(self, tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What steps of so many tokens take; NaN where nothing measured tells."""
        if not self._tokens:
            return np.full_like(tokens, np.nan)
        return np.interp(tokens, self._tokens, self._seconds, left=np.nan, right=np.nan)


class _Point(NamedTuple):
    tokens: float
    seconds: float
    prompts: bool


class Lookup:
    """The tokens of one sequence, and where they stood before. Source: prompt lookup decoding."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: npt.NDArray[np.int32] = np.array(tokens, dtype=np.int32)
        self._length = len(tokens)
        self._source = 0  # the token at this place is the first of the next guess
        self._match = 0  # so many tokens before it are the newest ones
        self._record = Record()
        self._find()

    def append(self, token: int) -> None:
        """A token that the model has said."""
        follows = self._match > 0 and int(self._tokens[self._source]) == token
        if self._length == len(self._tokens):
            self._tokens = np.resize(self._tokens, max(64, 2 * self._length))
        self._tokens[self._length] = token
        self._length += 1
        if follows:
            self._source += 1
            self._match += 1
        else:
            self._find()

    def _find(self) -> None:
        """The newest earlier place where the last few tokens stood."""
        self._match = 0
        if self._length <= SHORTEST_MATCH:
            return
        known, last = self._tokens[: self._length], self._length - 1
        places = np.flatnonzero(known[SHORTEST_MATCH - 1 : last] == known[last])
        for back in range(1, SHORTEST_MATCH):
            places = places[known[places + SHORTEST_MATCH - 1 - back] == known[last - back]]
        if len(places):
            self._source = int(places[-1]) + SHORTEST_MATCH
            self._match = SHORTEST_MATCH

    def guess(self, most: int) -> list[int]:
        """What may come next: at most `most` tokens, none where nothing matches."""
        if not self._match:
            return []
        found: list[int] = self._tokens[self._source : self._length][:most].tolist()
        return found

    def settle(self, guessed: int, right: int) -> None:
        """As in `Guesser`."""
        self._record.settle(guessed, right)

    @property
    def confidence(self) -> float:
        """As in `Guesser`: from the length of the match and from earlier guesses."""
        return self._record.confidence(1.0 - 1.0 / (1.0 + self._match))


class Pace(Protocol):
    """What steps cost and may cost."""

    @property
    def costs(self) -> StepCosts: ...

    def longest_guess_seconds(self, answering: int) -> float:
        """The most that a step with guesses may take."""
        ...


def share_guesses(asked: Sequence[tuple[Lookup, int]], most: int, pace: Pace) -> list[Guess]:
    """A guess for each sequence that has the next token of its answer computed, empty where none
    is worth it: `asked` has how much each may use, `most` is for all together."""
    guesses: list[Guess] = [()] * len(asked)
    tokens, expected = len(asked), float(len(asked))
    limit = pace.longest_guess_seconds(len(asked))
    order = sorted(range(len(asked)), key=lambda index: -asked[index][0].confidence)
    for index in order:
        lookup, room = asked[index]
        known = lookup.guess(min(room, most - (tokens - len(asked))))
        if not known:
            continue
        length = best_length(pace.costs, tokens, expected, lookup.confidence, len(known), limit)
        if length == 0:
            break
        guesses[index] = known[:length]
        tokens += length
        expected += expected_right(lookup.confidence, length)
    return guesses


def best_length(
    costs: StepCosts,
    tokens: int,
    expected: float,
    confidence: float,
    most: int,
    longest_seconds: float = math.inf,
) -> int:
    """How many tokens to guess in a step that computes `tokens` tokens anyway and gives `expected`
    of answers: as many as give the most tokens per second, 0 if none is better."""
    plain = costs.seconds(tokens)
    if plain is None:
        return 0
    best, best_rate = 0, GAIN * expected / plain
    for length in (*(one for one in LENGTHS if one < most), most):
        seconds = costs.seconds(tokens + length)
        if seconds is None or seconds > longest_seconds:
            break
        rate = (expected + expected_right(confidence, length)) / seconds
        if rate > best_rate:
            best, best_rate = length, rate
    return best


def expected_right(confidence: float, length: int) -> float:
    """Mean number of tokens that are taken of a guess of `length`."""
    if confidence >= 1.0:
        return float(length)
    return confidence * (1.0 - confidence**length) / (1.0 - confidence)
