"""For whom a drafter is worth asking, how far, and whether it should catch up first. Pure.

Each of the drafter's steps costs time, so its guesses must promise more than they cost, by measured
steps of both models and by how its guesses have done: for a sequence where they do not pay it is
not asked again. Nothing is known of a drafter that was never asked, so a few guesses need not pay;
what those take is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from localserve.engine.guessing import Pace, Record, StepCosts
from localserve.engine.runner import Drafter

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
class Candidate:
    """A sequence that may be guessed for: the `index`-th of those that answer. `room` tokens at
    most, `lacking` are not computed by the drafter."""

    index: int
    confidence: float
    room: int
    lacking: int


@dataclass(frozen=True, slots=True)
class PlainStep:
    """The step as it would be without the drafter, of so many answers: the tokens it computes, how
    many are likely to come of it, and the `most` that may be guessed beside; NaN seconds where
    nothing measured tells."""

    answers: int
    tokens: int
    expected: float
    seconds: float
    longest_seconds: float
    most: int


@dataclass(frozen=True, slots=True)
class DraftPlan:
    """How many tokens to guess, by index; and of whom to compute a `chunk` of tokens before."""

    counts: Mapping[int, int] = field(default_factory=dict)
    behind: int | None = None
    chunk: int = 0


@dataclass(frozen=True, slots=True)
class _Choice:
    """So many sequences, so far; what that takes beyond the plain step, and how many times as many
    tokens a second it gives."""

    sequences: int = 0
    length: int = 0
    seconds: float = 0.0
    gain: float = 0.0


class DraftPlanner:
    """Knows what one drafter's steps take, in `costs`, and how its guesses have done."""

    def __init__(self, drafter: Drafter, pace: Pace) -> None:
        self._cost = drafter.cost
        self._batch_tokens = drafter.batch_tokens
        self._pace = pace
        self.costs = StepCosts()
        self._of_all = Record()
        self._trials = TRIAL_ROUNDS
        self._trial_seconds = TRIAL_SECONDS
        self._answers = 0
        self._rest = 0
        self._rested_with = 0

    def begin(self) -> Draft:
        """One more sequence."""
        self._answers += 1
        if self._answers % TRIAL_EVERY == 0:
            self._trials = max(self._trials, 1)
        return Draft(self._of_all)

    def rests(self, step: PlainStep) -> bool:
        """Whether nothing paid a few steps ago, and nobody has come or gone since. To be asked once
        for each step."""
        if step.seconds > 0:  # NaN is not
            self._trial_seconds += TRIAL_SHARE * step.seconds
        self._rest -= 1
        return self._rest >= 0 and step.answers == self._rested_with

    def plan(self, step: PlainStep, candidates: Sequence[Candidate]) -> DraftPlan:
        """What the drafter is to do for these, the surest first."""
        ready = self._ready(candidates)
        chosen = self._best(step, ready)
        if chosen.gain < GAIN:
            chosen = self._trial(step, ready)
        counts = {one.index: min(chosen.length, one.room) for one in ready[: chosen.sequences]}
        behind = next((one for one in candidates if one.lacking > NEAR), None)
        if behind is not None and self._pays_to_catch_up(step, candidates, bool(ready)):
            chunk = self._chunk(step, behind.lacking, chosen.seconds)
            return DraftPlan(counts, behind.index, chunk)
        if step.seconds > 0 and not counts:
            self._rest, self._rested_with = REST_STEPS, step.answers
        return DraftPlan(counts)

    def asked(self) -> None:
        """The drafter has guessed."""
        self._trials = max(0, self._trials - 1)

    def _ready(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those that can be guessed for at once, as many as fit into the drafter's batch."""
        ready, tokens = [], 0
        for one in candidates:
            if one.lacking <= NEAR and tokens + one.lacking <= self._batch_tokens:
                ready.append(one)
                tokens += one.lacking
        return ready

    def _best(self, step: PlainStep, ready: Sequence[Candidate]) -> _Choice:
        """For how many of them and how far guessing gives the most tokens per second."""
        if not ready:
            return _Choice()
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
        place = np.unravel_index(int(rates.argmax()), rates.shape)
        gain = float(rates[place]) * step.seconds / step.expected
        if not gain > 0.0:  # which NaN is not
            return _Choice()
        beyond = float(seconds[place]) - step.seconds
        return _Choice(int(place[0]) + 1, int(LENGTHS[place[1]]), beyond, gain)

    def _trial(self, step: PlainStep, ready: Sequence[Candidate]) -> _Choice:
        """To guess for one sequence, although that does not pay, and learn."""
        length = min(TRIAL_LENGTH, step.most, ready[0].room) if ready else 0
        if length <= 0 or self._trials <= 0:
            return _Choice()
        tokens = np.array([step.tokens + length], np.float64)
        checking = float(self._pace.costs.seconds_of(tokens)[0]) - step.seconds
        first, each = self._seconds_of(np.array([ready[0].lacking, 1], np.float64))
        seconds = float(checking + first + (length - 1) * each)
        return _Choice(1, length, seconds) if self._spend(seconds) else _Choice()

    def _spend(self, seconds: float) -> bool:
        """Whether there is so much time for trials; it is used then."""
        if not seconds <= self._trial_seconds:  # which NaN is not
            return False
        self._trial_seconds -= seconds
        return True

    def _pays_to_catch_up(
        self, step: PlainStep, candidates: Sequence[Candidate], any_ready: bool
    ) -> bool:
        """Whether the answers are likely to win back what computing their beginnings takes, or that
        of the first is little enough for a trial."""
        lacking = np.array([one.lacking for one in candidates if one.lacking > NEAR], np.float64)
        seconds = self._seconds_of(lacking)
        gain = self._best(step, [replace(one, lacking=1) for one in candidates]).gain
        if gain >= GAIN:
            room = max(one.room for one in candidates)
            saved = min(room, HORIZON_TOKENS) * step.seconds * (1.0 - 1.0 / gain)
            safety = SAFETY if self._of_all.tried >= WELL_TRIED else SAFETY_UNTRIED
            if saved > safety * seconds.sum():
                return True
        return self._trials > 0 and not any_ready and self._spend(float(seconds[0]))

    def _chunk(self, step: PlainStep, lacking: int, guessing_seconds: float) -> int:
        """How many tokens to catch up with, so that the step keeps to its time."""
        most = min(lacking, self._batch_tokens)
        sizes = np.array([min(size, most) for size in CHUNKS], dtype=np.float64)
        seconds = step.seconds + guessing_seconds + self._seconds_of(sizes)
        fit = seconds <= step.longest_seconds
        return int(sizes[int(fit.argmax()) if fit.any() else -1])

    def _seconds_of(self, tokens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What steps of the drafter take; as its size lets expect where none was measured."""
        measured = self.costs.stretched_seconds_of(tokens)
        expected = self._cost * self._pace.costs.stretched_seconds_of(tokens)
        return np.where(np.isnan(measured), expected, measured)
