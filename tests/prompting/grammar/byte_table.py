"""A small vocabulary for grammars, and ways to write by it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from localserve.engine.constraint import Constraint

END = 256
MERGED = (
    '{"', '": ', '", "', '"}', '": "', '": {"', "]}", "}}", ", ", ": ", "[{", "true", "false", "null",
    "\n  ", "\n    ", "name", "arguments", "</", "get_weather", "city", "Paris", "12", "ab", "日本",
    "<tool", "_call>", "</tool_call>\n", " {", "think>", "\\n", "\\\"", '"\n',
)  # fmt: skip
FIRST_MERGED = 257


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

    def tokens(self, text: str) -> list[int]:
        """A text as tokens: special ones where they are spelled, the longest that fit elsewhere."""
        raw, found = text.encode(), []
        by_length = sorted(range(self.size), key=lambda token: -len(self._texts[token]))
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


def write(constraint: Constraint, table: ByteTable, seed: int, most: int = 3_000) -> str:
    """An answer of tokens that are drawn blindly among those allowed; after a while those that
    close something are drawn where they can be. It must come to an end."""
    rng = random.Random(seed)
    answer = b""
    for count in range(most):
        row = np.zeros(table.size, dtype=np.float32)
        constraint.restrict(row)
        allowed = np.flatnonzero(row == 0.0).tolist()
        assert allowed, f"nothing may follow {answer!r}"
        token = rng.choice(_closing(allowed, table, answer) if count > 40 else allowed)
        assert constraint.allows(token)
        constraint.accept(token)
        if token in table.ends:
            return answer.decode()
        answer += table.spelling(token)
        if constraint.complete:
            return answer.decode()
    raise AssertionError(f"no end after {most} tokens: {answer[-200:]!r}")


def _closing(allowed: list[int], table: ByteTable, answer: bytes) -> list[int]:
    """Of the allowed tokens those that bring an answer to its end, as far as there are any."""
    quotes = answer.replace(b"\\\\", b"").replace(b'\\"', b"").count(b'"')
    marks = [b'"'] if quotes % 2 else [b"}]", b":,", b'"', b"0123456789nl", b"["]
    for closing in (set(table.ends), *map(set, marks)):
        if found := [token for token in allowed if token in closing]:
            return found
    return allowed
