"""Token bytes to text: whole characters only, and never a stop string. Pure.

Knows nothing of tokens but their bytes. Text is held back while it may still become a stop string
or a character is incomplete; what was given out is never taken back.
"""

from __future__ import annotations

import codecs
import re
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Piece(Generic[Entry]):
    """Text that may be given out, with the entries of the tokens that lie in it.

    `special_at` are the offsets in it at which special tokens begin. With `cut` the rest of the
    answer is not given out.
    """

    text: str
    entries: tuple[Entry, ...] = ()
    stopped_by: str | None = None
    special_at: tuple[int, ...] = ()
    cut: bool = False


class TextAssembler(Generic[Entry]):
    """Assembles the text of one answer. It is cut where a line after the first is indented by less
    than `min_indent` characters."""

    def __init__(self, stop: tuple[str, ...] = (), min_indent: int = 0) -> None:
        self._stop = tuple(text for text in stop if text)
        self._short_indent = _short_indent(min_indent)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""
        self._held_from = 0  # offset of the held text within the whole answer
        self._entries: deque[tuple[int, Entry]] = deque()  # (offset where its text ends, entry)
        self._specials: deque[int] = deque()  # offsets where special tokens begin

    def feed(
        self, raw: bytes, entry: Entry | None = None, *, special: bool = False
    ) -> Piece[Entry]:
        """Add a token's bytes; returns what may be given out now."""
        if not special:
            return self._advance(self._decode(raw), entry)
        broken_off = self._decode(b"", True)
        self._specials.append(self._held_from + len(self._held) + len(broken_off))
        return self._advance(broken_off + self._decode(raw), entry)

    def finish(self) -> Piece[Entry]:
        """The answer ends: give out all that was held back."""
        piece = self._advance(self._decode(b"", True), None)
        if piece.stopped_by is not None or piece.cut:
            return piece
        rest = self._release(len(self._held))
        entries = (*piece.entries, *rest.entries, *(entry for _, entry in self._entries))
        self._entries.clear()
        behind = tuple(len(piece.text) + offset for offset in rest.special_at)
        return Piece(piece.text + rest.text, entries, special_at=piece.special_at + behind)

    def _advance(self, text: str, entry: Entry | None) -> Piece[Entry]:
        plain = not self._stop and self._short_indent is None
        if plain and entry is None and not self._held and not self._specials:
            self._held_from += len(text)
            return Piece(text)
        searched_from = max(0, len(self._held) - max(map(len, self._stop), default=0))
        self._held += text
        if entry is not None:
            self._entries.append((self._held_from + len(self._held), entry))
        found = [
            (at, stop) for stop in self._stop if (at := self._held.find(stop, searched_from)) >= 0
        ]
        short = self._short_indent.search(self._held) if self._short_indent else None
        if found:
            # The first that is complete, so that it does not matter how tokens cut the text.
            at, stop = min(found, key=lambda hit: (hit[0] + len(hit[1]), hit[0]))
            if short is None or at + len(stop) <= short.end():
                return self._end_at(at, stop)
        if short is not None:
            return self._end_at(short.end("indent"), None)
        return self._release(len(self._held) - self._undecided_length())

    def _end_at(self, length: int, stop: str | None) -> Piece[Entry]:
        """Give out so much of the held text, and nothing after it."""
        piece = self._release(length)
        self._held = ""
        self._entries.clear()
        return Piece(piece.text, piece.entries, stop, piece.special_at, cut=stop is None)

    def _undecided_length(self) -> int:
        """Length of the longest end of the held text that a stop string begins with, or that may
        turn out to be the indentation of a line."""
        indent = _LINE_BEGUN.search(self._held) if self._short_indent else None
        begun = len(self._held) - indent.start() if indent else 0
        return max(begun, self._stop_begun())

    def _stop_begun(self) -> int:
        longest = min(len(self._held), max(map(len, self._stop), default=1) - 1)
        for length in range(longest, 0, -1):
            if self._stop and any(stop.startswith(self._held[-length:]) for stop in self._stop):
                return length
        return 0

    def _release(self, length: int) -> Piece[Entry]:
        text, self._held = self._held[:length], self._held[length:]
        start = self._held_from
        self._held_from += length
        specials: list[int] = []
        while self._specials and self._specials[0] < self._held_from:
            specials.append(self._specials.popleft() - start)
        entries: list[Entry] = []
        while self._entries and self._entries[0][0] <= self._held_from:
            entries.append(self._entries.popleft()[1])
        return Piece(text, tuple(entries), special_at=tuple(specials))


_LINE_BEGUN = re.compile(r"\n[ \t]*\Z")


def _short_indent(least: int) -> re.Pattern[str] | None:
    """Finds the beginning of a line whose `indent` has less than `least` characters."""
    if least <= 0:
        return None
    return re.compile(rf"\n(?P<indent>[ \t]{{0,{least - 1}}})[^ \t]")
