"""A small vocabulary for grammars, and ways to write by it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from localserve.engine.constraint import Constraint

END = 256
MERGED = (
    '{"', '": ', '", "', '"}', '": "', '": {"', "]}", "}}", ", ", ": ", "[{", "true", "false",
    "null",
    "\n  ", "\n    ", "name", "arguments", "</", "get_weather", "city", "Paris", "12", "ab",
    "日本",    "<tool", "_call>", "</tool_call>\n", " {", "think>", "\\n", "\\\"", '"\n',
)  # fmt: skip
MOST_TOKENS = 1_000


class ByteTable:
    """Bytes, the end of an answer, some longer tokens, then `special` ones and a second end."""

    def __init__(self, *special: str) -> None:
        self._texts = [bytes([byte]) for byte in range(256)] + [b"<|end|>"]
        self._texts += [text.encode() for text in MERGED]
        self.first_special = len(self._texts)
        self._texts += [text.encode() for text in special] + [b"<|eom|>"]
        self.special = {text: self.first_special + at for at, text in enumerate(special)}
        self.second_end = len(self._texts) - 1
        self.ends: Sequence[int] = (END, self.second_end)

    @property
    def size(self) -> int:
        return len(self._texts)

    def spelling(self, token: int) -> bytes:
        return self._texts[token]

    def is_text(self, token: int) -> bool:
        return token not in self.ends and token < self.first_special

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens spell."""
        return b"".join(map(self.spelling, tokens)).decode()

    def tokens(self, text: str) -> list[int]:
        """A text as tokens: special ones where they are spelled, the longest that fit elsewhere."""
        raw, found = text.encode(), []
        by_length = sorted(
            range(self.size),
            key=lambda token: (token < self.first_special, -len(self._texts[token])),
        )
        while raw:
            token = next(one for one in by_length if raw.startswith(self._texts[one]))
            found.append(token)
            raw = raw[len(self._texts[token]) :]
        return found


def follows(constraint: Constraint, tokens: Sequence[int]) -> bool:
    """Whether an answer may be these tokens and end behind them."""
    for token in tokens:
        if not constraint.allows(token):
            return False
        constraint.accept(token)
    return constraint.complete or constraint.allows(END)


def write(
    constraint: Constraint,
    table: ByteTable,
    seed: int,
    closers: Sequence[str] = (),
    *,
    raw: bool = False,
) -> list[int]:
    """The tokens of an answer that are drawn blindly among those allowed; after a while those that
    close something are drawn where they can be: `closers`, in their order, then JSON. It must come
    to an end. With `raw` quotes are letters like any other."""
    rng = random.Random(seed)
    tokens: list[int] = []
    answer = b""
    while len(tokens) < MOST_TOKENS:
        row = np.zeros(table.size, dtype=np.float32)
        constraint.restrict(row)
        allowed = np.flatnonzero(row == 0.0).tolist()
        assert allowed, f"nothing may follow {answer!r}"
        closing = _closing(allowed, table, answer, closers, raw) if len(tokens) > 40 else []
        token = rng.choice(closing or allowed)
        assert constraint.allows(token)
        constraint.accept(token)
        if token in table.ends:
            return tokens
        tokens.append(token)
        answer += table.spelling(token)
        if constraint.complete:
            return tokens
    raise AssertionError(f"no end after {MOST_TOKENS} tokens: {answer[-200:]!r}")


def _closing(
    allowed: list[int], table: ByteTable, answer: bytes, closers: Sequence[str], raw: bool
) -> list[int]:
    """Of the allowed tokens those that bring an answer to its end, as far as there are any."""
    ends = set(table.ends) | {table.special[text] for text in closers if text in table.special}
    towards = [{_next_byte(closer.encode(), answer)} for closer in closers]
    quote = b"" if raw else _open_quote(answer)
    marks = [b"}])", b":,", b"\"'", b"0123456789nl", b"[("]
    for closing in (ends, set(quote), *towards, *map(set, [] if quote else marks)):
        if found := [token for token in allowed if token in closing]:
            return found
    return []


def _next_byte(closer: bytes, answer: bytes) -> int:
    """The byte that leads on from the end of an answer to the closer."""
    begun = (length for length in range(len(closer)) if answer.endswith(closer[:length]))
    return closer[max(begun)]


def _open_quote(answer: bytes) -> bytes:
    """The quote of the string in which an answer ends; empty outside of strings."""
    quote, escaped = b"", False
    for sign in (answer[at : at + 1] for at in range(len(answer))):
        if escaped:
            escaped = False
        elif quote and sign == b"\\":
            escaped = True
        elif sign == quote:
            quote = b""
        elif not quote and sign in (b'"', b"'"):
            quote = sign
    return quote
