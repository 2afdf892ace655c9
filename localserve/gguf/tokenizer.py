"""What a file says of its vocabulary. Words themselves are left in the header. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from localserve.gguf.metadata import Metadata

TOKENS: Final = "tokenizer.ggml.tokens"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """`model` is "gpt2", "llama", "bert", ..., `pre` the pre-tokenizer; ids are token numbers."""

    model: str | None
    pre: str | None
    n_tokens: int
    bos: int | None
    eos: int | None
    add_bos: bool | None
    chat_template: str | None


def read_tokenizer(metadata: Metadata) -> Tokenizer:
    """Raises: ModelMalformed, where a value has the wrong type."""
    words = metadata.array(TOKENS)
    return Tokenizer(
        model=metadata.text("tokenizer.ggml.model"),
        pre=metadata.text("tokenizer.ggml.pre"),
        n_tokens=words.length if words else 0,
        bos=metadata.integer("tokenizer.ggml.bos_token_id"),
        eos=metadata.integer("tokenizer.ggml.eos_token_id"),
        add_bos=metadata.flag("tokenizer.ggml.add_bos_token"),
        chat_template=metadata.text("tokenizer.chat_template"),
    )
