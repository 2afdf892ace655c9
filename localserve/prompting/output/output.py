"""Collects what a parser finds. Pure; one answer.

White space around content and reasoning is held back until it is known to be within them. What was
given out is never taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from localserve.prompting.output.deltas import (
    ArgumentsPiece,
    CallBegun,
    ContentPiece,
    Piece,
    ReasoningPiece,
)
from localserve.prompting.output.schema import Schema


class Output:
    """What was parsed and not yet taken. Implements `CallSink`.

    With `reasoning_apart` false, reasoning becomes content, with the markers around it. With
    `calls_only` other content is dropped.
    """

    def __init__(
        self, tools: Mapping[str, Schema | None], reasoning_apart: bool, calls_only: bool
    ) -> None:
        self.tools = tools
        self.calls = 0
        self.in_reasoning = False
        self._apart = reasoning_apart
        self._calls_only = calls_only
        self._pieces: list[Piece] = []
        self._content = _Flow(lambda text: self._add(ContentPiece(text)))
        self._reasoning = _Flow(lambda text: self._add(ReasoningPiece(text)))
        self._opening = ""

    @property
    def blank(self) -> bool:
        """Whether nothing but white space was said so far."""
        return self._content.blank

    def take(self) -> list[Piece]:
        """All pieces since the last time."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def discard(self) -> None:
        """Forget what was not taken; what was held back is not given out later either."""
        self._pieces.clear()
        self._content.forget()
        self._reasoning.forget()

    def content(self, text: str) -> None:
        if not self._calls_only:
            self._content.write(text)

    def begin_reasoning(self, opening: str) -> None:
        self.in_reasoning = True
        self._opening = opening
        self._content.trim()
        self._reasoning.trim()

    def reasoned(self, text: str) -> None:
        if self._apart:
            self._reasoning.write(text)
        elif text:
            self._content.write_exactly(self._opening + text)
            self._opening = ""

    def end_reasoning(self, closing: str) -> None:
        self.in_reasoning = False
        if self._apart:
            self._reasoning.separate()
            self._content.trim()
        elif not self._opening:
            self._content.write_exactly(closing)

    def begin(self, name: str, id: str | None = None) -> None:
        self.trim()
        self._pieces.append(CallBegun(self.calls, name, id))
        self.calls += 1

    def arguments(self, text: str) -> None:
        if text:
            self._add(ArgumentsPiece(self.calls - 1, text))

    def trim(self) -> None:
        """White space before and behind this place belongs to markers."""
        self._content.trim()

    def finish(self) -> None:
        """Give out white space at the end, where the answer is nothing but content."""
        if not self.calls:
            self._content.flush()

    def _add(self, piece: Piece) -> None:
        last = self._pieces[-1] if self._pieces else None
        match piece:
            case ContentPiece(text) if isinstance(last, ContentPiece):
                self._pieces[-1] = ContentPiece(last.text + text)
            case ReasoningPiece(text) if isinstance(last, ReasoningPiece):
                self._pieces[-1] = ReasoningPiece(last.text + text)
            case ArgumentsPiece(index, text) if isinstance(last, ArgumentsPiece):
                self._pieces[-1] = ArgumentsPiece(index, last.text + text)
            case _:
                self._pieces.append(piece)


class _Flow:
    """Text of one kind; its white space waits for what follows."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self.blank = True
        self._emit = emit
        self._held: list[str] = []
        self._trims = False
        self._separated = False

    def write(self, text: str) -> None:
        if self._trims:
            text = text.lstrip()
        if not text:
            return
        self._trims = False
        said = text.rstrip()
        if said:
            if self._separated and not self.blank:
                self._emit("\n")
            self._separated = False
            self.blank = False
            self._emit("".join(self._held) + said)
            self._held.clear()
        if len(said) < len(text):
            self._held.append(text[len(said) :])

    def write_exactly(self, text: str) -> None:
        """Nothing is trimmed."""
        self._trims = False
        self.write(text)

    def trim(self) -> None:
        """Drop white space that is held and that comes next."""
        self._held.clear()
        self._trims = True

    def separate(self) -> None:
        """What comes next is another part, on a line of its own."""
        self.trim()
        self._separated = True

    def forget(self) -> None:
        self._held.clear()

    def flush(self) -> None:
        if self._held:
            self._emit("".join(self._held))
            self._held.clear()
