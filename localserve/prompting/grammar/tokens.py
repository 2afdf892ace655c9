"""A vocabulary as llguidance takes it. Made once for a model, in a worker: it takes seconds.

Nothing of llama.cpp is handed over but the tokens' bytes, so a grammar may outlive its model.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from llguidance import LLTokenizer, TokenizerWrapper


class TokenTable(Protocol):
    """What is needed of a vocabulary. Safe on any thread."""

    @property
    def size(self) -> int: ...

    @property
    def ends(self) -> Sequence[int]:
        """The tokens that end an answer."""
        ...

    def spelling(self, token: int) -> bytes:
        """The token's bytes, those of control tokens included."""
        ...

    def is_text(self, token: int) -> bool:
        """Whether the token adds its spelling to an answer's text."""
        ...


class TokenBytes(TokenizerWrapper):
    """What `LLTokenizer` asks of a tokenizer; it never tokenizes, as no grammar forces tokens."""

    def __init__(self, table: TokenTable, markers: Collection[int]) -> None:
        """`markers` are tokens that are never text, whatever they are spelled as."""
        self.is_tokenizer_wrapper = True
        self.bos_token_id = None
        self.tokens = [table.spelling(token) for token in range(table.size)]
        special = {token for token in range(table.size) if not table.is_text(token)}
        self.special_token_ids = sorted(special | {*markers} | {*table.ends})
        self.eos_token_id = table.ends[0] if table.ends else None  # type: ignore[assignment]

    def __call__(self, text: bytes | str) -> list[int]:
        raise NotImplementedError("grammars force no tokens")


def make_tokenizer(table: TokenTable, markers: Collection[int]) -> LLTokenizer:
    """The tokenizer of a vocabulary."""
    tokens = TokenBytes(table, markers)
    tokenizer = LLTokenizer(tokens)
    tokens.tokens = []  # it has its own copy, and keeps this object
    return tokenizer
