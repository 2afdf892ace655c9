"""Whether a model was trained to fill in the middle of a text, as its vocabulary tells. Pure.

Source: the special tokens that llama.cpp looks for (llama-vocab.cpp): by key, else by their text.
"""

from __future__ import annotations

from typing import Final

from localserve.gguf.metadata import Metadata
from localserve.gguf.tokenizer import TOKENS

_KEYS: Final = (("fim_pre", "prefix"), ("fim_suf", "suffix"), ("fim_mid", "middle"))
"""Before the prefix, before the suffix, before the middle: the key and its older name."""

_TEXTS: Final = tuple(
    frozenset(text.encode() for text in texts)
    for texts in (
        (
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ),
        (
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ),
        (
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ),
    )
)


_SUFFIX_FIRST: Final = frozenset((b"[PREFIX]", b"[SUFFIX]"))
"""Mistral's models mark no middle; llama.cpp does not know their tokens. Source: mistral-common,
encode_fim."""


def fills_middle(metadata: Metadata) -> bool:
    """Whether the tokens are there, all three or Mistral's two.

    Looks through the whole vocabulary where no key names them. Raises: ModelMalformed, where a
    value has the wrong type.
    """
    texts = [
        known
        for keys, known in zip(_KEYS, _TEXTS, strict=True)
        if all(metadata.integer(f"tokenizer.ggml.{key}_token_id") is None for key in keys)
    ]
    if not texts:
        return True
    missing = set(range(len(texts)))
    suffix_first: set[bytes] = set()
    for word in metadata.byte_strings(TOKENS):
        if word[:1] in (b"<", b"\xe2"):
            missing -= {place for place in missing if word in texts[place]}
        elif word in _SUFFIX_FIRST:
            suffix_first.add(word)
    return not missing or len(suffix_first) == len(_SUFFIX_FIRST)
