"""Ends a model's reasoning when it has cost enough tokens. Pure; one answer.

The tokens that close the reasoning are put in place of those that the model chose, at the border of
a character. Knows the marks of reasoning as bytes, because tokens may lie across them.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReasoningBudget:
    """At most `tokens` between the marks `opening` and `closing`, then the tokens of `ending`.

    `inside` says that the prompt has opened the reasoning. An empty `opening` never opens it again.
    """

    tokens: int
    opening: bytes
    closing: bytes
    ending: tuple[int, ...]
    inside: bool = False


class BudgetKeeper:
    """Watches the tokens of one answer; `spelling` gives a token's bytes."""

    def __init__(self, budget: ReasoningBudget, spelling: Callable[[int], bytes]) -> None:
        self._budget = budget
        self._spelling = spelling
        self._inside = budget.inside
        self._spent = 0
        self._tail = b""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._due: list[int] = []

    def steer(self, token: int) -> int:
        """The token that takes the place of the chosen one: mostly the same."""
        if not self._due and self._inside and self._spent >= self._budget.tokens:
            within_character = bool(self._decoder.getstate()[0])
            if not within_character:
                self._due = list(self._budget.ending)
        if self._due:
            token = self._due.pop(0)
        self._observe(token)
        return token

    def _observe(self, token: int) -> None:
        raw = self._spelling(token)
        self._decoder.decode(raw)
        self._spent += self._inside
        self._tail += raw
        mark = self._budget.closing if self._inside else self._budget.opening
        at = self._tail.find(mark) if mark else -1
        if at >= 0:
            self._inside = not self._inside
            self._spent = 0
            self._tail = self._tail[at + len(mark) :]
        longest = max(len(self._budget.opening), len(self._budget.closing))
        self._tail = self._tail[-longest:] if longest else b""
