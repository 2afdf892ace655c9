"""Guesses of a smaller model: for whom it is worth asking, how far, and what it must compute first.

The drafter says the likeliest next token of every sequence that it guesses for in one batch, then
the one after that. Each of its steps costs time, so a guess of it must promise more than it costs,
by measured steps of both models and by how its guesses have done: for a sequence where they do not
pay it is not asked again. What it lacks of a sequence it computes only once that is worth it, in
chunks that keep the step within its time. Lives on the engine thread.
"""

from __future__ import annotations

import logging
import time
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from localserve.engine.cache import WORTH_SHARING, wanted_prefix
from localserve.engine.guessing import Guess, Pace, Record, StepCosts, expected_right
from localserve.engine.runner import DecodeFailed, Drafter, Interrupted, NoCells, Slice
from localserve.engine.sequence import Sequence
from localserve.engine.tree import PrefixTree

log = logging.getLogger(__name__)

LENGTHS: Final = np.array([1, 2, 3, 4, 6, 8, 12, 16], dtype=np.float64)
"""How far a guess may reach."""

GAIN: Final = 1.15
"""What the drafter's guesses must promise over none, for the times of steps are known roughly."""

LIKELY: Final = 0.7
"""How likely a guessed token is right, before anything has been tried."""

NEAR: Final = 16
"""Tokens that the drafter may lack of a sequence to guess for it at once: they are computed with
the first one that it guesses."""

TRIAL_ROUNDS: Final = 4
"""Guesses at first that need not pay: nothing is known of either model before."""

TRIAL_LENGTH: Final = 3
"""Tokens of each."""

TRIAL_SECONDS: Final = 0.15
"""What trials may take at first."""

TRIAL_SHARE: Final = 0.01
"""Of the time of all steps that may be guessed for, what trials may take later."""

TRIAL_EVERY: Final = 32
"""Answers after which one more guess need not pay, for what is asked changes."""

REST_STEPS: Final = 8
"""Steps for which nothing is planned anew where nothing paid: planning takes time, too."""

WELL_TRIED: Final = 8.0
"""Guessed tokens after which it is known how often the drafter is right."""

SAFETY, SAFETY_UNTRIED = 2.0, 12.0
"""How many times what catching up takes the answer must be likely to win back by it; and as long as
nobody knows how often the drafter is right."""

HORIZON_TOKENS: Final = 256
"""An answer is thought to go on for so long, if it may."""

CHUNKS: Final = (512, 256, 128, 64, 32)
"""Tokens of a sequence that the drafter computes in one step to catch up."""


class Draft:
    """Implements `Guesser` for one sequence; what is known of all others counts first."""

    def __init__(self, of_all: Record) -> None:
        self._of_all = of_all
        self._own = Record()

    def settle(self, guessed: int, right: int) -> None:
        """As in `Guesser`."""
        self._own.settle(guessed, right)
        self._of_all.settle(guessed, right)

    @property
    def confidence(self) -> float:
        """As in `Guesser`."""
        return self._own.confidence(self._of_all.confidence(LIKELY))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sequence that may be guessed for; `room` tokens at most, and `lacking` are not computed."""

    index: int
    sequence: Sequence
    confidence: float
    room: int
    lacking: int


@dataclass(frozen=True, slots=True)
class _Step:
    """The step as it would be without the drafter; NaN seconds where nothing measured tells."""

    tokens: int
    expected: float
    seconds: float
    longest_seconds: float
    most: int

    @property
    def rate(self) -> float:
        return self.expected / self.seconds


class Drafting:
    """Everything that is guessed by one drafter. `tree` says what the slots have in common."""

    def __init__(
        self,
        drafter: Drafter,
        tree: PrefixTree[Any],
        pace: Pace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drafter = drafter
        self._tree = tree
        self._pace = pace
        self._clock = clock
        self.costs = StepCosts()
        self._of_all = Record()
        self._trials = TRIAL_ROUNDS
        self._trial_seconds = TRIAL_SECONDS
        self._answers = 0
        self._behind: tuple[Sequence, int] | None = None
        self._rest = 0
        self._rested_with = 0
        self._failed = False

    # What is to be guessed

    def plan(
        self, answering: abc.Sequence[Sequence], guesses: abc.Sequence[Guess], most: int
    ) -> list[int]:
        """How many tokens to guess of each sequence: none where `guesses` has some already, and
        `most` in all."""
        counts = [0] * len(answering)
        self._behind = None
        step = self._step(answering, guesses, most)
        if self._failed or self._rests(step, len(answering)):
            return counts
        candidates = self._candidates(answering, guesses)
        ready = self._ready(candidates)
        sequences, length, gain = self._best(step, ready)
        if gain < GAIN:
            sequences, length = self._trial(step, ready)
        for one in ready[:sequences]:
            counts[one.index] = min(length, one.room)
        behind = [one for one in candidates if one.lacking > NEAR]
        if behind and self._pays_to_catch_up(step, candidates, ready):
            self._behind = behind[0].sequence, self._chunk(step, behind[0].lacking)
        elif step.seconds > 0 and not any(counts):  # NaN is not
            self._rest, self._rested_with = REST_STEPS, len(answering)
        return counts

    def _trial(self, step: _Step, ready: abc.Sequence[_Candidate]) -> tuple[int, int]:
        """For how many to guess, and how far, although that does not pay, to learn."""
        length = min(TRIAL_LENGTH, step.most, ready[0].room) if ready else 0
        if length <= 0 or self._trials <= 0:
            return 0, 0
        tokens = np.array([step.tokens + length], np.float64)
        seconds = float(self._pace.costs.seconds_of(tokens)[0]) - step.seconds
        first, each = self._seconds_of(np.array([ready[0].lacking, 1], np.float64))
        return (1, length) if self._spend(seconds + first + (length - 1) * each) else (0, 0)

    def _spend(self, seconds: float) -> bool:
        """Whether there is so much time for trials; it is used then."""
        if not seconds <= self._trial_seconds:  # which NaN is not
            return False
        self._trial_seconds -= seconds
        return True

    def _rests(self, step: _Step, answering: int) -> bool:
        """Whether nothing paid a few steps ago; nobody has come or gone since."""
        if step.seconds > 0:
            self._trial_seconds += TRIAL_SHARE * step.seconds
        self._rest -= 1
        return self._rest >= 0 and answering == self._rested_with

    def _step(
        self, answering: abc.Sequence[Sequence], guesses: abc.Sequence[Guess], most: int
    ) -> _Step:
        expected = float(len(answering))
        for sequence, guess in zip(answering, guesses, strict=True):
            if guess and sequence.lookup is not None:
                expected += expected_right(sequence.lookup.confidence, len(guess))
        tokens = len(answering) + sum(map(len, guesses))
        seconds = self._pace.costs.seconds(tokens)
        longest = self._pace.longest_guess_seconds(len(answering))
        return _Step(tokens, expected, seconds or np.nan, longest, most)

    def _candidates(
        self, answering: abc.Sequence[Sequence], guesses: abc.Sequence[Guess]
    ) -> list[_Candidate]:
        """Of whom nothing is guessed yet, the surest first."""
        found = []
        for index, (sequence, guess) in enumerate(zip(answering, guesses, strict=True)):
            room = sequence.limit - sequence.answer_length - 1
            if guess or room <= 0 or sequence.slot is None:
                continue
            if sequence.draft is None:
                sequence.draft = self._begin()
            lacking = len(sequence.tokens) - self._drafter.held(sequence.slot)
            found.append(_Candidate(index, sequence, sequence.draft.confidence, room, lacking))
        return sorted(found, key=lambda one: -one.confidence)

    def _begin(self) -> Draft:
        self._answers += 1
        if self._answers % TRIAL_EVERY == 0:
            self._trials = max(self._trials, 1)
        return Draft(self._of_all)

    def _ready(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Those that can be guessed for at once, as many as fit into the drafter's batch."""
        ready, tokens = [], 0
        for one in candidates:
            if one.lacking <= NEAR and tokens + one.lacking <= self._drafter.batch_tokens:
                ready.append(one)
                tokens += one.lacking
        return ready

    def _best(self, step: _Step, ready: abc.Sequence[_Candidate]) -> tuple[int, int, float]:
        """For how many of them and how far guessing gives the most tokens per second, and how many
        times as many as without."""
        if not ready:
            return 0, 0, 0.0
        lengths = np.minimum(LENGTHS, np.array([one.room for one in ready])[:, None])
        used = lengths.cumsum(axis=0)
        sure = np.clip([one.confidence for one in ready], 0.0, 0.999)[:, None]
        right = sure * (1.0 - sure**lengths) / (1.0 - sure)
        first = np.cumsum([one.lacking for one in ready], dtype=np.float64)
        each = np.arange(1, len(ready) + 1, dtype=np.float64)
        drafting = self._seconds_of(first)[:, None]
        drafting = drafting + (LENGTHS - 1) * self._seconds_of(each)[:, None]
        seconds = self._pace.costs.seconds_of(step.tokens + used) + drafting
        usable = (used <= step.most) & (seconds <= step.longest_seconds)
        rates = np.where(usable, (step.expected + right.cumsum(axis=0)) / seconds, 0.0)
        sequences, length = np.unravel_index(int(rates.argmax()), rates.shape)
        gain = float(rates[sequences, length]) / step.rate
        return int(sequences) + 1, int(LENGTHS[length]), gain if gain > 0.0 else 0.0

    def _seconds_of(self, tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What steps of the drafter take; as its size lets expect where none was measured."""
        measured = self.costs.stretched_seconds_of(tokens)
        expected = self._drafter.cost * self._pace.costs.stretched_seconds_of(tokens)
        return np.where(np.isnan(measured), expected, measured)

    def _pays_to_catch_up(
        self, step: _Step, candidates: list[_Candidate], ready: list[_Candidate]
    ) -> bool:
        """Whether the answers are likely to win back what computing their beginnings takes, or that
        of the first is little enough for a trial."""
        lacking = np.array([one.lacking for one in candidates if one.lacking > NEAR], np.float64)
        seconds = self._seconds_of(lacking)
        near = [replace(one, lacking=min(one.lacking, 1)) for one in candidates]
        _, _, gain = self._best(step, near)
        if gain >= GAIN:
            room = max(one.room for one in candidates)
            saved = min(room, HORIZON_TOKENS) * step.seconds * (1.0 - 1.0 / gain)
            safety = SAFETY if self._of_all.tried >= WELL_TRIED else SAFETY_UNTRIED
            if saved > safety * seconds.sum():
                return True
        return self._trials > 0 and not ready and self._spend(float(seconds[0]))

    def _chunk(self, step: _Step, lacking: int) -> int:
        """How many tokens to catch up with, so that the step keeps to its time."""
        most = min(lacking, self._drafter.batch_tokens)
        sizes = np.array([min(size, most) for size in CHUNKS], dtype=np.float64)
        fit = step.seconds + self._seconds_of(sizes) <= step.longest_seconds
        return int(sizes[int(fit.argmax()) if fit.any() else -1])

    # Guessing

    def guess(
        self, sequences: abc.Sequence[Sequence], counts: abc.Sequence[int]
    ) -> list[list[int]]:
        """So many tokens of each sequence, as planned; none where the drafter fails.

        Raises: Interrupted.
        """
        try:
            self._catch_up()
            return self._guess(sequences, counts)
        except Interrupted:
            for one in sequences:
                if one.slot is not None:
                    self._drafter.truncate(one.slot, one.computed)
            raise
        except NoCells:
            self._drafter.clear()
        except Exception as failure:  # whatever it is, the answers are not concerned
            unforeseen = not isinstance(failure, DecodeFailed)
            log.error(
                "the draft model failed and is asked no more: %s", failure, exc_info=unforeseen
            )
            self._failed = True
            self._drafter.clear()
        return [[] for _ in sequences]

    def _guess(
        self, sequences: abc.Sequence[Sequence], counts: abc.Sequence[int]
    ) -> list[list[int]]:
        guesses: list[list[int]] = [[] for _ in sequences]
        parts: dict[int, Slice] = {}
        for index, (sequence, count) in enumerate(zip(sequences, counts, strict=True)):
            if count:
                assert sequence.slot is not None
                held = self._drafter.held(sequence.slot)
                parts[index] = Slice(sequence.slot, held, sequence.tokens[held:], None)
        if parts and self._trials > 0:
            self._trials -= 1
        while parts:
            tokens = self._compute(list(parts.values()))
            for (index, part), token in zip(list(parts.items()), tokens, strict=True):
                guesses[index].append(token)
                if len(guesses[index]) < counts[index]:
                    end = part.start + len(part.tokens)
                    parts[index] = Slice(part.slot, end, [token], None)
                else:
                    del parts[index]
        return guesses

    def _catch_up(self) -> None:
        """Compute more of what the drafter lacks of one sequence, or find it in another slot."""
        if self._behind is None:
            return
        sequence, chunk = self._behind
        assert sequence.slot is not None
        source, there = self._longest(sequence)
        if there >= self._drafter.held(sequence.slot) + WORTH_SHARING:
            self._drafter.share(source, sequence.slot, there)
        held = self._drafter.held(sequence.slot)
        tokens = sequence.tokens[held : min(held + chunk, sequence.computed)]
        if tokens:
            self._compute([Slice(sequence.slot, held, tokens, None)])

    def _longest(self, sequence: Sequence) -> tuple[int, int]:
        """The slot in which the drafter holds the most of what the sequence begins with."""
        match = self._tree.longest(sequence.request.scope, wanted_prefix(sequence))
        best = (0, 0)
        for length, slots, _ in match.candidates() if match else ():
            for slot in slots:
                there = min(length, self._drafter.held(slot))
                best = max(best, (there, slot))
        return best[1], best[0]

    def _compute(self, batch: list[Slice]) -> abc.Sequence[int]:
        began = self._clock()
        tokens = self._drafter.likeliest(batch)
        sizes = [len(part.tokens) for part in batch]
        self.costs.observe(sum(sizes), self._clock() - began, prompts=max(sizes) > NEAR)
        return tokens
