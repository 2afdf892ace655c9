"""Guesses of a smaller model: one batch for the next token of every sequence that it guesses for,
one for the token after that, and so on.

What it has not computed of a sequence it computes once that is worth it (`draft_plan.py`), in
chunks that keep the step within its time, or shares it with a slot in which it lies already. Lives
on the engine thread.
"""

from __future__ import annotations

import logging
import math
import time
from collections import abc
from collections.abc import Callable
from typing import Any

from localserve.engine.cache import WORTH_SHARING, wanted_prefix
from localserve.engine.draft_plan import NEAR, Candidate, DraftPlanner, PlainStep
from localserve.engine.guessing import Guess, Pace, expected_right
from localserve.engine.runner import DecodeFailed, Drafter, Interrupted, NoCells, Slice
from localserve.engine.sequence import Sequence
from localserve.engine.tree import PrefixTree

log = logging.getLogger(__name__)


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
        self._planner = DraftPlanner(drafter, pace)
        self._behind: tuple[Sequence, int] | None = None
        self._failed = False

    # What is to be guessed

    def plan(
        self, answering: abc.Sequence[Sequence], guesses: abc.Sequence[Guess], most: int
    ) -> list[int]:
        """How many tokens to guess of each sequence: none where `guesses` has some already, and
        `most` in all."""
        self._behind = None
        step = self._step(answering, guesses, most)
        if self._failed or self._planner.rests(step):
            return [0] * len(answering)
        plan = self._planner.plan(step, self._candidates(answering, guesses))
        if plan.behind is not None:
            self._behind = answering[plan.behind], plan.chunk
        return [plan.counts.get(index, 0) for index in range(len(answering))]

    def _step(
        self, answering: abc.Sequence[Sequence], guesses: abc.Sequence[Guess], most: int
    ) -> PlainStep:
        expected = float(len(answering))
        for sequence, guess in zip(answering, guesses, strict=True):
            if guess and sequence.lookup is not None:
                expected += expected_right(sequence.lookup.confidence, len(guess))
        tokens = len(answering) + sum(map(len, guesses))
        seconds = self._pace.costs.seconds(tokens) or math.nan
        longest = self._pace.longest_guess_seconds(len(answering))
        return PlainStep(len(answering), tokens, expected, seconds, longest, most)

    def _candidates(
        self, answering: abc.Sequence[Sequence], guesses: abc.Sequence[Guess]
    ) -> list[Candidate]:
        """Of whom nothing is guessed yet, the surest first."""
        found = []
        for index, (sequence, guess) in enumerate(zip(answering, guesses, strict=True)):
            room = sequence.limit - sequence.answer_length - 1
            if guess or room <= 0 or sequence.slot is None:
                continue
            if sequence.draft is None:
                sequence.draft = self._planner.begin()
            lacking = len(sequence.tokens) - self._drafter.held(sequence.slot)
            found.append(Candidate(index, sequence.draft.confidence, room, lacking))
        return sorted(found, key=lambda one: -one.confidence)

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
        if parts:
            self._planner.asked()
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
        self._planner.costs.observe(sum(sizes), self._clock() - began, prompts=max(sizes) > NEAR)
        return tokens
