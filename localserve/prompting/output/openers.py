"""The markers before and behind tool calls, of which models leave out some. Pure.

A format's opening is a chain of markers, say a section's, a call's and a function's. Calls may
begin at any of them, and white space between them does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from localserve.prompting.output.format import ToolCalls
from localserve.prompting.output.reader import Reader, Reading

_BETWEEN_MARKERS = re.compile(r"(?<=[>\]])(?<!\[>)\s*(?=<(?!\])|\[)|(?<=```)\s*(?=<)")
_SHORTEST = 3
"""A shorter text says too little to begin a call."""


class Openers:
    """The markers of a format's calls; none for None."""

    def __init__(self, calls: ToolCalls | None) -> None:
        opening: list[str] = []
        closing: list[str] = []
        if calls is not None:
            opening = [*split_markers(calls.section.open), *split_markers(calls.each.open)]
            closing = [*split_markers(calls.each.close), *split_markers(calls.section.close)]
        self._opening = opening
        self._closing = sorted(dict.fromkeys(closing), key=len, reverse=True)
        self.call_close = closing[0] if closing else ""
        self.texts = tuple(text for text in opening if len(text) >= _SHORTEST)

    def follow(self, reader: Reader, found: str) -> Reading[None]:
        """Read those of the chain that come behind `found`."""
        for marker in self._opening[self._opening.index(found) + 1 :]:
            yield from reader.spaces()
            yield from reader.accept(marker)

    def closers(self, reader: Reader) -> Reading[None]:
        """Read all markers that may close a call, and white space between them."""
        while True:
            reader.begin_attempt()
            yield from reader.spaces()
            if not (yield from self._accept_any(reader, self._closing)):
                reader.give_up()
                return
            reader.keep()

    def next(self, reader: Reader) -> Reading[bool]:
        """Read the chain before a further call, if one follows."""
        for marker in self.texts:
            if (yield from reader.accept(marker)):
                yield from self.follow(reader, marker)
                return True
        return False

    def _accept_any(self, reader: Reader, markers: list[str]) -> Reading[bool]:
        for marker in markers:
            if (yield from reader.accept(marker)):
                return True
        return False


def split_markers(text: str) -> Iterator[str]:
    """The markers of a text that is made of them."""
    yield from (part.strip() for part in _BETWEEN_MARKERS.split(text) if part.strip())
