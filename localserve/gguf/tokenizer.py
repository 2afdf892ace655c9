"""What a file says of its vocabulary. Words themselves are left in the header. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from localserve.gguf.metadata import Metadata

TOKENS: Final = "tokenizer.ggml.tokens"


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """`model` is "gpt2", "llama", "bert", ... and `pre` the pre-tokenizer; ids are token numbers.

    `eog` are the tokens that the file says end an answer, each once; llama.cpp adds those that it
    knows by their text.
    """

    model: str | None
    pre: str | None
    n_tokens: int
    bos: int | None
    eos: int | None
    eog: tuple[int, ...]
    add_bos: bool | None
    chat_template: str | None


def read_tokenizer(metadata: Metadata) -> Tokenizer:
    """Raises: ModelMalformed, where a value has the wrong type."""
    words = metadata.array(TOKENS)
    ends = [metadata.integer(f"tokenizer.ggml.{end}_token_id") for end in ("eos", "eot", "eom")]
    return Tokenizer(
        model=metadata.text("tokenizer.ggml.model"),
        pre=metadata.text("tokenizer.ggml.pre"),
        n_tokens=words.length if words else 0,
        bos=metadata.integer("tokenizer.ggml.bos_token_id"),
        eos=ends[0],
        eog=tuple(dict.fromkeys(end for end in ends if end is not None)),
        add_bos=metadata.flag("tokenizer.ggml.add_bos_token"),
        chat_template=metadata.text("tokenizer.chat_template"),
    )
