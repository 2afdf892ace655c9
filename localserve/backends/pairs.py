"""A query and a document as the one sequence that a reranker was trained to score. Pure but for the
vocabulary; any thread. Source: format_prompt_rerank in llama.cpp, and the tokenizers' own pairs."""

from __future__ import annotations

import re
from typing import Protocol

PLACES = re.compile(r"\{(query|document)\}")


class PairVocabulary(Protocol):
    """What is asked of a vocabulary."""

    @property
    def separator(self) -> int | None: ...

    @property
    def adds_separator(self) -> bool: ...

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...


class Pairs:
    """Makes pairs of one model. `template` is the model's own text for them, where it has one;
    `word_pieces` says that it has BERT's vocabulary, which puts one separator between."""

    def __init__(
        self, vocabulary: PairVocabulary, template: str | None, *, word_pieces: bool
    ) -> None:
        self._vocabulary = vocabulary
        self._template = template
        framed = vocabulary.tokenize("a", add_special=True, parse_special=False)
        bare = vocabulary.tokenize("a", add_special=False, parse_special=False)
        begin = next((at for at in range(len(framed)) if framed[at : at + len(bare)] == bare), 0)
        self._before, self._behind = framed[:begin], framed[begin + len(bare) :]
        doubled = vocabulary.adds_separator and not word_pieces
        separator = vocabulary.separator
        self._between = [*self._behind, *([separator] if doubled and separator is not None else [])]

    def tokens(self, query: str, document: str) -> list[int]:
        """The whole sequence, as `[CLS] query [SEP] document [SEP]`."""
        if self._template is not None:
            texts = {"query": query, "document": document}
            text = PLACES.sub(lambda place: texts[place[1]], self._template)
            return self._vocabulary.tokenize(text, add_special=False, parse_special=True)
        asked, told = self._plain(query), self._plain(document)
        return [*self._before, *asked, *self._between, *told, *self._behind]

    def _plain(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text, add_special=False, parse_special=False)
