"""Text as it arrives, read by generators that wait where it ends for now.

A reading is a generator that yields whenever it needs more text, so a grammar is written top-down
as if all text were there. How the text was cut into pieces never shows in what is read. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Result = TypeVar("Result")
Reading = Generator[None, None, Result]
Sink = Callable[[str], None]

REREAD_CHARACTERS = 1 << 18
"""How much text may be read again in all, after what looked like a call was none."""


def read_at_once(reading: Reading[Result]) -> Result:
    """The result of a reading whose text is all there."""
    try:
        next(reading)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("the text has not ended")


class Markers:
    """Texts to be looked for together; the longest wins where several begin."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(sorted({text for text in texts if text}, key=len, reverse=True))
        self.pattern = re.compile("|".join(map(re.escape, self.texts))) if self.texts else None
        self.longest = max(map(len, self.texts), default=0)
        self._beginnings = {text[:end] for text in self.texts for end in range(1, len(text))}
        self._first = {text[0] for text in self.texts}

    def undecided(self, text: str, start: int) -> int:
        """Where the longest end of `text` begins that may still become one of the markers."""
        for begin in range(max(start, len(text) - self.longest + 1), len(text)):
            if text[begin] in self._first and text[begin:] in self._beginnings:
                return begin
        return len(text)


class Reader:
    """The unread text. `special` are the spellings of special tokens.

    A marker that begins with such a spelling is found only where that token was fed: the same
    letters as ordinary text are no marker.
    """

    def __init__(self, special: frozenset[str] = frozenset()) -> None:
        self.ended = False
        self.muted_until = 0
        self.special = special
        self._starts: set[int] = set()
        self._text = ""
        self._at = 0
        self._base = 0  # offset of `_text` within all that was fed
        self._record: list[str] | None = None
        self._reread_left = REREAD_CHARACTERS

    def feed(self, text: str, special_at: Iterable[int] = ()) -> None:
        """Add text; `special_at` are the offsets in it at which special tokens begin."""
        start = self._base + len(self._text)
        self._starts.update(start + offset for offset in special_at)
        self._base += self._at
        self._text = self._text[self._at :] + text
        self._at = 0

    @property
    def exhausted(self) -> bool:
        """Whether all that came is read."""
        return self._at == len(self._text)

    @property
    def fed(self) -> int:
        """How many characters came so far."""
        return self._base + len(self._text)

    def more(self) -> Reading[bool]:
        """Wait for more text than there is; False at the end."""
        size = self.fed
        while self.fed == size:
            if self.ended:
                return False
            yield
        return True

    def peek(self, count: int = 1) -> Reading[str]:
        """The next `count` characters, fewer at the end, unread."""
        while len(self._text) - self._at < count and (yield from self.more()):
            pass
        return self._text[self._at : self._at + count]

    def take(self, count: int) -> str:
        """Read characters that are there."""
        text = self._text[self._at : self._at + count]
        self._at += len(text)
        if self._record is not None:
            self._record.append(text)
        return text

    def accept(self, marker: str) -> Reading[bool]:
        """Read `marker` if it comes next."""
        for length in range(1, len(marker) + 1):
            if (yield from self.peek(length)) != marker[:length]:
                return False
        if not self._is_marker(marker, self._at):
            return False
        self.take(len(marker))
        return True

    def read_while(self, pattern: re.Pattern[str], sink: Sink) -> Reading[None]:
        """Read on as long as characters match `pattern`, a class of characters repeated."""
        while True:
            found = pattern.match(self._text, self._at)
            if found and found.end() > self._at:
                sink(self.take(found.end() - self._at))
            if self._at < len(self._text) or not (yield from self.more()):
                return

    def spaces(self) -> Reading[str]:
        """Read white space."""
        parts: list[str] = []
        yield from self.read_while(_SPACES, parts.append)
        return "".join(parts)

    def until(self, markers: Markers, sink: Sink) -> Reading[str | None]:
        """Read up to and with the marker that begins first, which is returned; None at the end.

        What cannot belong to a marker goes to `sink` at once.
        """
        while True:
            found = self._search(markers)
            if found is not None:
                begin, marker = found
                undecided = markers.undecided(
                    self._text, self._at
                ) < begin or self._longer_possible(markers, begin, marker)
                if undecided and (yield from self.more()):
                    continue
                self._release(begin, sink)
                return self.take(len(marker))
            self._release(markers.undecided(self._text, self._at), sink)
            if not (yield from self.more()):
                self._release(len(self._text), sink)
                return None

    def begin_attempt(self) -> None:
        """Remember what is read from here on, for `give_up`."""
        self._record = []

    def keep(self) -> None:
        """The attempt was right."""
        self._record = None

    def give_up(self) -> None:
        """Unread all that was read since `begin_attempt`."""
        text = "".join(self._record or ())
        self._record = None
        self._reread_left -= len(text)
        self.unread(text)

    def unread(self, text: str) -> None:
        """Put back text that was read last."""
        start = self._at - len(text)
        if start >= 0 and self._text.startswith(text, start):
            self._at = start  # copying what follows each time would cost its length
            return
        self._text = text + self._text[self._at :]
        self._base += self._at - len(text)
        self._at = 0

    @property
    def patient(self) -> bool:
        """Whether attempts are still affordable; bounds the work to the text's length."""
        return self._reread_left > 0

    def was_special(self, marker: str) -> bool:
        """Whether `marker`, which was read last, began with a special token."""
        return self._base + self._at - len(marker) in self._starts

    def _search(self, markers: Markers) -> tuple[int, str] | None:
        if markers.pattern is None:
            return None
        start = self._at
        while found := markers.pattern.search(self._text, start):
            if self._is_marker(found[0], found.start()):
                return found.start(), found[0]
            start = found.start() + 1
        return None

    def _is_marker(self, marker: str, begin: int) -> bool:
        if self._base + begin in self._starts:
            return True
        return not any(marker.startswith(text) for text in self.special)

    def _longer_possible(self, markers: Markers, begin: int, marker: str) -> bool:
        rest = self._text[begin : begin + markers.longest]
        return any(
            len(text) > len(rest) and text.startswith(rest)
            for text in markers.texts
            if len(text) > len(marker)
        )

    def _release(self, end: int, sink: Sink) -> None:
        muted = max(0, min(self.muted_until - self._base, end) - self._at)
        text = self.take(end - self._at)[muted:]
        if text:
            sink(text)


_SPACES = re.compile(r"\s*")
