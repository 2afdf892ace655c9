"""Query and document as one sequence, over a vocabulary that shows what it does."""

from __future__ import annotations

from dataclasses import dataclass

from localserve.backends.pairs import Pairs

CLS, SEP = 1, 2


@dataclass
class Letters:
    """Letters are tokens; BERT's two special tokens stand around a text where `framed` says so."""

    begin: tuple[int, ...] = (CLS,)
    end: tuple[int, ...] = (SEP,)
    separator: int | None = SEP
    adds_separator: bool = False

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        letters = [SEP if letter == "|" and parse_special else ord(letter) for letter in text]
        return [*self.begin, *letters, *self.end] if add_special else letters


def spelled(tokens: list[int]) -> str:
    return "".join({CLS: "<", SEP: ">"}.get(token, chr(token)) for token in tokens)


def test_bert_puts_one_separator_between() -> None:
    for adds in (False, True):
        pairs = Pairs(Letters(adds_separator=adds), None, word_pieces=True)
        assert spelled(pairs.tokens("ask", "tell")) == "<ask>tell>"


def test_others_put_two_between_where_their_file_says_so() -> None:
    once = Pairs(Letters(), None, word_pieces=False)
    assert spelled(once.tokens("ask", "tell")) == "<ask>tell>"
    twice = Pairs(Letters(adds_separator=True), None, word_pieces=False)
    assert spelled(twice.tokens("ask", "tell")) == "<ask>>tell>"


def test_a_vocabulary_without_special_tokens_has_none() -> None:
    pairs = Pairs(Letters((), (), None), None, word_pieces=False)
    assert spelled(pairs.tokens("ask", "tell")) == "asktell"


def test_the_models_own_text_for_pairs_is_used() -> None:
    pairs = Pairs(Letters(), "Q: {query} D: {document}|", word_pieces=False)
    assert spelled(pairs.tokens("ask", "tell")) == "Q: ask D: tell>"


def test_what_stands_in_query_or_document_is_no_place_to_fill() -> None:
    pairs = Pairs(Letters(), "{query}/{document}", word_pieces=False)
    assert spelled(pairs.tokens("{document}", "{query}")) == "{document}/{query}"
    plain = Pairs(Letters(), None, word_pieces=True)
    assert spelled(plain.tokens("a|b", "c")) == "<a|b>c>"
