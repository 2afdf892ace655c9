"""The model's vocabulary: text to tokens and back.

llama.cpp documents tokenization as thread-safe: these are its only calls that are made off the
engine thread. Source: llama.h, section Tokenization.
"""

from __future__ import annotations

import ctypes
import functools

import llama_cpp
import numpy as np

from localserve.engine.runner import FillMarkers

NULL_TOKEN = -1
SWALLOWS_SPACE = llama_cpp.LLAMA_TOKEN_ATTR_LSTRIP | llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP

PLAIN = 1 << 2 | 1 << 5
"""NORMAL and BYTE. Source: enum llama_token_attr in llama.h."""

NOT_PLAIN = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4
"""UNKNOWN, UNUSED, CONTROL and USER_DEFINED."""

NO_TEXT = 1 << 0 | 1 << 1 | 1 << 3
"""UNKNOWN, UNUSED and CONTROL."""


class Weights:
    """A loaded model's memory. Freed with its last holder, since a request may still be using the
    vocabulary on another thread when the engine ends."""

    def __init__(self, pointer: llama_cpp.llama_model_p) -> None:
        self.pointer = pointer

    def __del__(self) -> None:
        llama_cpp.llama_model_free(self.pointer)


class LlamaVocabulary:
    """Implements `engine.runner.Vocabulary`. Keeps the weights, of which it is a part."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._vocab = llama_cpp.llama_model_get_vocab(weights.pointer)
        self._size = llama_cpp.llama_vocab_n_tokens(self._vocab)
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}
        self._plain: dict[int, bytes | None] = {}

    @property
    def size(self) -> int:
        return self._size

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        """Token ids. `add_special` adds BOS or EOS where the model wants them; with
        `parse_special`, text that spells a special token becomes that token."""
        raw = text.encode("utf-8", "surrogatepass")
        tokens = np.empty(len(raw) + 2, dtype=np.int32)
        while True:
            count = llama_cpp.llama_tokenize(
                self._vocab,
                raw,
                len(raw),
                tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
                len(tokens),
                add_special,
                parse_special,
            )
            if count >= 0:
                return tokens[:count].tolist()
            tokens = np.empty(-count, dtype=np.int32)

    def least_tokens(self, text_bytes: int) -> int:
        """The fewest tokens that a text of so many bytes can have; 0 where that is not known.

        Nothing is tokenized for it. Where a token may swallow white space around it, or bytes may
        go lost because no token has them, a text of any length could have one token.
        """
        longest = self._longest_token_bytes
        return -(-text_bytes // longest) if longest else 0

    @functools.cached_property
    def _longest_token_bytes(self) -> int:
        """The most bytes of text that one token stands for; 0 where there is no such bound.

        Source: the sessions of llama-vocab.cpp. SPM and BPE cut the text and keep every piece.
        """
        kind = llama_cpp.llama_vocab_type(self._vocab)
        if kind not in (llama_cpp.LLAMA_VOCAB_TYPE_SPM, llama_cpp.LLAMA_VOCAB_TYPE_BPE):
            return 0
        longest, bytes_known = 0, set()
        for token in range(self._size):
            if llama_cpp.llama_vocab_get_attr(self._vocab, token) & SWALLOWS_SPACE:
                return 0
            spelling = self.spelling(token)
            if len(spelling) == 1:
                bytes_known.add(spelling)
            # One that is spelled as nothing may still be found in a text, as it is written.
            longest = max(longest, len(spelling or self.text(token).encode()))
        return longest if len(bytes_known) == 256 else 0

    def piece(self, token: int) -> bytes:
        """The bytes that the token adds to an answer; control tokens add none."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._render(token, special=False)
        return piece

    def spelling(self, token: int) -> bytes:
        """The token's bytes, those of control tokens included."""
        return self._render(token, special=True)

    def is_special(self, token: int) -> bool:
        """Whether the token is one of its own kind rather than a piece of text."""
        special = llama_cpp.LLAMA_TOKEN_ATTR_CONTROL | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
        return bool(llama_cpp.llama_vocab_get_attr(self._vocab, token) & special)

    def is_text(self, token: int) -> bool:
        """Whether the token adds its spelling to an answer: none that controls, or is unused."""
        return not llama_cpp.llama_vocab_get_attr(self._vocab, token) & NO_TEXT

    def plain(self, token: int) -> bytes | None:
        """The bytes of an ordinary token or a byte token; None for control tokens, for those that
        a user defined, which the tokenizer finds in text, and for unused and unknown ones."""
        if token not in self._plain:
            attributes = llama_cpp.llama_vocab_get_attr(self._vocab, token)
            ordinary = bool(attributes & PLAIN) and not attributes & NOT_PLAIN
            self._plain[token] = self.piece(token) if ordinary else None
        return self._plain[token]

    def is_end(self, token: int) -> bool:
        ends = self._ends.get(token)
        if ends is None:
            ends = self._ends[token] = llama_cpp.llama_vocab_is_eog(self._vocab, token)
        return ends

    @functools.cached_property
    def ends(self) -> list[int]:
        """All tokens that end an answer."""
        return [token for token in range(self._size) if self.is_end(token)]

    @property
    def begin(self) -> int | None:
        """The token that begins a text, where the model has one."""
        return _some(llama_cpp.llama_vocab_bos(self._vocab))

    @property
    def end(self) -> int | None:
        return _some(llama_cpp.llama_vocab_eos(self._vocab))

    @property
    def turn_end(self) -> int | None:
        """A token that ends an answer, if there is one: the end of a turn rather than of a text."""
        token = _some(llama_cpp.llama_vocab_eot(self._vocab))
        return self.end if token is None else token

    @property
    def separator(self) -> int | None:
        """The token between two texts, where the model has one."""
        return _some(llama_cpp.llama_vocab_sep(self._vocab))

    @property
    def adds_separator(self) -> bool:
        """Whether the file asks for `separator` between two texts."""
        return llama_cpp.llama_vocab_get_add_sep(self._vocab)

    @property
    def adds_begin(self) -> bool:
        """Whether `tokenize` with `add_special` begins with `begin`."""
        return llama_cpp.llama_vocab_get_add_bos(self._vocab)

    @functools.cached_property
    def fill_markers(self) -> FillMarkers | None:
        """The tokens for a middle to be filled, if the model was trained for that.

        Mistral's models write the suffix first and mark no middle; llama.cpp does not know their
        markers. Source: mistral-common, encode_fim.
        """
        prefix, suffix = self._named("[PREFIX]"), self._named("[SUFFIX]")
        if prefix is not None and suffix is not None:
            return FillMarkers(prefix, suffix, None, suffix_first=True)
        prefix = _some(llama_cpp.llama_vocab_fim_pre(self._vocab))
        suffix = _some(llama_cpp.llama_vocab_fim_suf(self._vocab))
        middle = _some(llama_cpp.llama_vocab_fim_mid(self._vocab))
        if prefix is None or suffix is None or middle is None:
            return None
        return FillMarkers(
            prefix,
            suffix,
            middle,
            repository=_some(llama_cpp.llama_vocab_fim_rep(self._vocab)),
            file=_some(llama_cpp.llama_vocab_fim_sep(self._vocab)),
        )

    def _named(self, text: str) -> int | None:
        """The special token that is written so."""
        tokens = self.tokenize(text, add_special=False, parse_special=True)
        return tokens[0] if len(tokens) == 1 and self.is_special(tokens[0]) else None

    def text(self, token: int | None) -> str:
        """How the token is written in prompts; empty for None."""
        if token is None:
            return ""
        return llama_cpp.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace")

    def _render(self, token: int, *, special: bool) -> bytes:
        if not 0 <= token < self._size:
            raise ValueError(f"there is no token {token} in a vocabulary of {self._size}")
        length = 64
        while True:
            buffer = ctypes.create_string_buffer(length)
            written = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, length, 0, special)
            if written >= 0:
                return buffer.raw[:written]
            length = -written


def _some(token: int) -> int | None:
    return None if token == NULL_TOKEN else token
