"""`/tokenize` and `/detokenize`: from bodies to what they ask for, and back.

Knows nothing of HTTP. Any thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from localserve.chat import Prompt
from localserve.dialects.bounds import Name
from localserve.dialects.llama_server.prompts import LARGEST_TOKEN, read_parts
from localserve.dialects.schema import WireBody, read_json
from localserve.errors import FieldProblem, InvalidSchema

Token = Annotated[int, Field(ge=0, le=LARGEST_TOKEN)]


@dataclass(frozen=True, slots=True)
class Text:
    """A text to be made into tokens."""

    model: str
    content: Prompt
    add_special: bool
    parse_special: bool
    with_pieces: bool


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens, with the bytes of each where `pieces` are given."""

    model: str
    tokens: Sequence[int]
    pieces: Sequence[bytes] = ()

    @property
    def prompt_tokens(self) -> int:
        return len(self.tokens)


class TokenizeBody(WireBody):
    model: Name | None = None
    content: Any = None
    add_special: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None


class DetokenizeBody(WireBody):
    model: Name | None = None
    tokens: Annotated[list[Token], Field(fail_fast=True)] | None = None


@dataclass(frozen=True, slots=True)
class AskedTokens:
    """Tokens are wanted."""

    request: Text

    def render(self, answer: Tokens) -> bytes:
        """The answer's body."""
        if not self.request.with_pieces:
            return json.dumps({"tokens": list(answer.tokens)}).encode()
        both = zip(answer.tokens, answer.pieces, strict=True)
        tokens = [{"id": token, "piece": _piece(piece)} for token, piece in both]
        return json.dumps({"tokens": tokens}).encode()


@dataclass(frozen=True, slots=True)
class AskedText:
    """The text of tokens is wanted."""

    request: Tokens

    def render(self, answer: Tokens) -> bytes:
        """The answer's body."""
        content = b"".join(answer.pieces).decode("utf-8", "replace")
        return json.dumps({"content": content}).encode()


def parse_tokenize(body: bytes) -> AskedTokens:
    """Read a request. No content has no tokens. Raises: InvalidRequest, InvalidSchema."""
    wire = read_json(TokenizeBody, body)
    return AskedTokens(
        Text(
            wire.model or "",
            _content(wire.content),
            add_special=bool(wire.add_special),
            parse_special=wire.parse_special is not False,
            with_pieces=bool(wire.with_pieces),
        )
    )


def parse_detokenize(body: bytes) -> AskedText:
    """Read a request. Raises: InvalidRequest, InvalidSchema."""
    wire = read_json(DetokenizeBody, body)
    return AskedText(Tokens(wire.model or "", tuple(wire.tokens or ())))


def _content(given: object) -> Prompt:
    match given:
        case None:
            return ()
        case str():
            return given
        case list():
            return read_parts(given, "content") if given else ()
        case _:
            wrong = "Input should be a text, or a list of ids and texts"
            raise InvalidSchema((FieldProblem("content", wrong, "value_error"),))


def _piece(piece: bytes) -> str | list[int]:
    """A part of a character is told by its bytes."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
