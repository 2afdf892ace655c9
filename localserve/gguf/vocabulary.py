"""Vocabularies that end llama.cpp, when it loads them or at the first text that it is given.

Each check yields one sentence per problem. Pure. Source: llama-vocab.cpp of llama.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from localserve.gguf.facts import GgufFacts
from localserve.gguf.tokenizer import TOKENS

_BYTE_TYPE: Final = 6
_BYTE_WORD: Final = re.compile(rb"<0x[0-9A-Fa-f]{2}>")
_ESCAPE: Final = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_NO_DEFAULT_BOS: Final = frozenset({"t5", "gemma4", "chatglm-bpe", "glm4", "glm5"})
"""Tokenizers (or pre-tokenizers) that have no first token unless the file names one."""


def vocabulary_problems(facts: GgufFacts) -> Iterator[str]:
    """What is wrong with the words and the special tokens."""
    words = list(facts.metadata.byte_strings(TOKENS))
    yield from _first_token(facts, len(words))
    yield from _doubles(facts, words)
    yield from _bytes(facts, words)


def _doubles(facts: GgufFacts, words: list[bytes]) -> Iterator[str]:
    if facts.tokenizer.model == "hybriddna":  # llama.cpp renames its words first
        return
    different = set(words)
    if len(different) == len(words) and b"" not in different:  # as nearly always
        return
    seen: dict[bytes, int] = {}
    for number, word in enumerate(words):
        first = seen.setdefault(word or b"[EMPTY_%d]" % number, number)
        if first != number:
            yield f"tokens {first} and {number} of its vocabulary are the same: {word[:40]!r}."
            return


def _bytes(facts: GgufFacts, words: list[bytes]) -> Iterator[str]:
    """Tokens that stand for one byte: written in one way only, and in SentencePiece all there."""
    types = facts.metadata.numbers("tokenizer.ggml.token_type") or ()
    for number, kind in enumerate(types[: len(words)]):
        word = words[number]
        if kind == _BYTE_TYPE and (
            facts.tokenizer.model == "bert" or not _BYTE_WORD.fullmatch(word)
        ):
            yield f"token {number} of its vocabulary stands for a byte and reads {word[:40]!r}."
            return
    if facts.tokenizer.model == "rwkv":
        yield from _single_bytes(words)
    if facts.tokenizer.model != "llama":
        return
    known = set(words)
    for byte in range(256):
        if b"<0x%02X>" % byte not in known and bytes([byte]) not in known:
            yield f"its vocabulary has no token for the byte {byte:#04x}."
            return


def _single_bytes(words: list[bytes]) -> Iterator[str]:
    """In RWKV's vocabulary a byte that begins a word must be one, else llama.cpp loops for ever."""
    plain = [_ESCAPE.sub(_unescape, word) for word in words]
    alone = {word for word in plain if len(word) == 1}
    for number, word in enumerate(plain):
        if word and word[:1] not in alone:
            yield f"token {number} begins with the byte {word[0]:#04x}, which is no token itself."
            return


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if len(code) == 3:
        return bytes([int(code[1:], 16)])
    return {b"t": b"\t", b"n": b"\n", b"r": b"\r"}.get(code, code)


def _first_token(facts: GgufFacts, count: int) -> Iterator[str]:
    tokenizer = facts.tokenizer
    names = {tokenizer.model, tokenizer.pre} & _NO_DEFAULT_BOS
    if not names or not (tokenizer.add_bos or tokenizer.model == "gemma4"):
        return
    if tokenizer.bos is None or tokenizer.bos >= count:
        found = "missing" if tokenizer.bos is None else f"{tokenizer.bos} of {count}"
        yield f"every text begins with its bos_token_id, which is {found}."
