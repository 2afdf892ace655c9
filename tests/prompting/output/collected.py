"""An answer put together again from the pieces of a parser."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from localserve.prompting.output.deltas import (
    ArgumentsPiece,
    CallBegun,
    ContentPiece,
    Piece,
    ReasoningPiece,
)
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.parser import AnswerParser, Tools


@dataclass(slots=True)
class Collected:
    content: str = ""
    reasoning: str = ""
    names: list[str] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            match piece:
                case ContentPiece(text):
                    self.content += text
                case ReasoningPiece(text):
                    self.reasoning += text
                case CallBegun(index, name, id):
                    assert index == len(self.names)
                    self.names.append(name)
                    self.ids.append(id)
                    self.arguments.append("")
                case ArgumentsPiece(index, text):
                    self.arguments[index] += text


def parse(
    format: OutputFormat,
    text: str,
    tools: Tools | None = None,
    *,
    cuts: Iterable[int] = (),
    begin: str = "",
    finish: bool = True,
    reasoning_apart: bool = True,
    calls_only: bool = False,
) -> Collected:
    """Parse a text cut at `cuts`, after a prompt that says `begin` on the assistant's behalf."""
    parser = AnswerParser(format, tools, reasoning_apart=reasoning_apart, calls_only=calls_only)
    parser.begin(begin)
    collected = Collected()
    edges = [0, *sorted(cuts), len(text)]
    for start, end in pairwise(edges):
        collected.add(parser.feed(text[start:end]))
    if finish:
        collected.add(parser.finish())
    return collected
