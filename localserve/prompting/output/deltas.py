"""What a parser gives out of an answer, piece by piece. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContentPiece:
    """More of what the assistant says."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """More of what the model thinks before it says something."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegun:
    """A tool call, numbered from 0 in its answer. `id` is None where the model gave none."""

    index: int
    name: str
    id: str | None


@dataclass(frozen=True, slots=True)
class ArgumentsPiece:
    """More of the JSON text of a call's arguments."""

    index: int
    text: str


Piece = ContentPiece | ReasoningPiece | CallBegun | ArgumentsPiece
