"""The texts of a few requests, for the log: sampled, bounded and redacted.

Nothing is kept of a request that was not drawn, and of one that was no more than can be shown. What
a client sent is shown as text with its escapes undone, because names and numbers hide in them; what
was answered is put together from its pieces, because one of them may end within a number. Knows no
wire format. Lives on the event loop.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

from localserve.telemetry.redaction import redact

MARGIN_CHARACTERS: Final = 1024
"""So much more than is shown is looked at: what begins within may end behind it."""

UNDOINGS: Final = 3
"""Arguments of tools are JSON within JSON."""

_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_ESCAPED: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class BodySampler:
    """Draws a `share` of the requests, of each of whose texts `most_characters` are shown."""

    def __init__(
        self, share: float, most_characters: int, chance: Callable[[], float] = random.random
    ) -> None:
        self._share = share
        self._most_characters = most_characters
        self._chance = chance

    def draw(self) -> BodyExcerpt | None:
        """What is kept of the next request; mostly None."""
        if self._share > 0 and self._chance() < self._share:
            return BodyExcerpt(self._most_characters)
        return None


class BodyExcerpt:
    """What is kept of one request until its line is written."""

    def __init__(self, most_characters: int) -> None:
        self._most = most_characters
        self._window = most_characters + MARGIN_CHARACTERS
        self._asked = bytearray()
        self._asked_bytes = 0
        self._answers: dict[int, list[str]] = {}
        self._answered = 0
        self._kept = 0

    def asked(self, chunk: bytes) -> None:
        """More of the request's body."""
        self._asked_bytes += len(chunk)
        # An escape takes six bytes at most for what is one character then.
        self._asked += chunk[: max(0, 6 * self._window - len(self._asked))]

    def answered(self, choice: int, text: str) -> None:
        """More of the answer, whatever kind of text it is."""
        self._answered += len(text)
        if self._kept < self._window:
            piece = text[: self._window - self._kept]
            self._kept += len(piece)
            self._answers.setdefault(choice, []).append(piece)

    def request_text(self) -> str:
        """What was asked, as it may be shown."""
        # Where a quoted secret ends is clear before its escapes are undone, what hides in it after.
        text = unescape(redact(self._asked.decode("utf-8", "replace")))
        shown = redact(text[: self._window], self._most)
        if len(text) <= self._most and self._asked_bytes == len(self._asked):
            return shown
        return f"{shown}... ({self._asked_bytes} bytes)"

    def answer_text(self) -> str:
        """What was answered, choice by choice, as it may be shown."""
        choices = ("".join(self._answers[choice]) for choice in sorted(self._answers))
        whole = _whole_characters("\n".join(choices))
        shown = redact(whole[: self._window], self._most)
        if len(whole) <= self._most and self._answered == self._kept:
            return shown
        return f"{shown}... ({self._answered} characters)"


def unescape(text: str) -> str:
    """JSON's escapes as what they stand for, also within strings of strings."""
    for _ in range(UNDOINGS):
        undone = _ESCAPE.sub(_character, text)
        if undone == text:
            break
        text = undone
    return _whole_characters(text)


def _whole_characters(text: str) -> str:
    """Two halves of one character are put together; a half alone is none."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(match: re.Match[str]) -> str:
    code, letter = match.groups()
    if code is not None:
        return chr(int(code, 16))
    return _ESCAPED.get(letter, letter)
