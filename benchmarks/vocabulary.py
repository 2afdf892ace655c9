"""A made-up byte-level BPE vocabulary of any size, with ChatML and fill-in-the-middle tokens.

Its words are all strings of up to four ASCII letters, with and without a leading space, as far as
the size allows. So whatever a model with this vocabulary says is text that can be streamed at once.
Knows nothing of files. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from string import ascii_lowercase

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
_BYTES = 256
_LONGEST_WORD = 4


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id, in the spelling of GPT-2 (each byte is one printable character).

    `ordinary` tokens come first, then the special ones. `speakable` are the ids whose text is
    printable ASCII, so any sequence of them is valid UTF-8.
    """

    tokens: tuple[str, ...]
    merges: tuple[str, ...]
    speakable: tuple[int, ...]

    @property
    def ordinary(self) -> int:
        return len(self.tokens) - len(SPECIAL_TOKENS)

    def id_of(self, special: str) -> int:
        return self.ordinary + SPECIAL_TOKENS.index(special)


def build_vocabulary(size: int) -> Vocabulary:
    """Make a vocabulary of exactly `size` tokens.

    Raises: ValueError when the size holds fewer than the bytes and the special tokens, or more
    than there are words.
    """
    wanted = size - _BYTES - len(SPECIAL_TOKENS)
    if wanted < 0:
        least = _BYTES + len(SPECIAL_TOKENS)
        raise ValueError(f"a vocabulary needs at least {least} tokens, {size} asked for")
    letters = byte_letters()
    merges = list(islice(_merges(letters[ord(" ")], wanted), wanted))
    if len(merges) < wanted:
        most = size - wanted + len(merges)
        raise ValueError(f"there are words for {most} tokens, {size} asked for")
    words = [left + right for left, right in merges]
    printable = [byte for byte in range(_BYTES) if 0x20 <= byte < 0x7F]
    return Vocabulary(
        tokens=(*letters, *words, *SPECIAL_TOKENS),
        merges=tuple(f"{left} {right}" for left, right in merges),
        speakable=(*printable, *range(_BYTES, _BYTES + len(words))),
    )


def byte_letters() -> list[str]:
    """The printable character that stands for each of the 256 bytes in a byte-level vocabulary.

    Source: the GPT-2 tokenizer: printable Latin-1 stands for itself, the rest follows from U+0100.
    """
    itself = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x100 + _BYTES))
    return [chr(byte) if byte in itself else chr(next(others)) for byte in range(_BYTES)]


def _merges(space: str, wanted: int) -> Iterator[tuple[str, str]]:
    """Short words first. Words after a space get two thirds: they are what text is made of."""
    after_space = wanted * 2 // 3
    yield from islice(_words(space, 1), after_space)
    yield from _words("", 2)


def _words(start: str, shortest: int) -> Iterator[tuple[str, str]]:
    for length in range(shortest, _LONGEST_WORD + 1):
        for word in product(ascii_lowercase, repeat=length):
            yield start + "".join(word[:-1]), word[-1]
