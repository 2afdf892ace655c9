"""The made-up vocabulary: sizes, merges and what it can say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.vocabulary import SPECIAL_TOKENS, build_vocabulary, byte_letters


@pytest.mark.parametrize("size", [265, 266, 2_048, 151_936])
def test_a_vocabulary_has_exactly_the_size_asked_for_and_no_token_twice(size: int) -> None:
    vocabulary = build_vocabulary(size)

    assert len(vocabulary.tokens) == size
    assert len(set(vocabulary.tokens)) == size
    assert vocabulary.tokens[-len(SPECIAL_TOKENS) :] == SPECIAL_TOKENS
    assert vocabulary.tokens[vocabulary.id_of("<|im_end|>")] == "<|im_end|>"


@given(size=st.integers(265, 5_000))
def test_each_merge_makes_the_next_token_from_two_earlier_ones(size: int) -> None:
    vocabulary = build_vocabulary(size)
    known = set(vocabulary.tokens[:256])

    words = vocabulary.tokens[256 : vocabulary.ordinary]
    for merge, word in zip(vocabulary.merges, words, strict=True):
        left, right = merge.split(" ")
        assert {left, right} <= known
        assert left + right == word
        known.add(word)


def test_what_can_be_said_is_printable_ascii() -> None:
    vocabulary = build_vocabulary(2_048)
    byte_of = {letter: byte for byte, letter in enumerate(byte_letters())}

    said = bytes(byte_of[letter] for id in vocabulary.speakable for letter in vocabulary.tokens[id])

    assert said.decode("ascii").isprintable()
    assert len(vocabulary.speakable) == 95 + len(vocabulary.merges)


def test_bytes_are_spelled_as_gpt2_spells_them() -> None:
    letters = byte_letters()

    assert len(set(letters)) == 256
    assert (letters[ord(" ")], letters[ord("\n")], letters[ord("a")]) == ("Ġ", "Ċ", "a")


@pytest.mark.parametrize(("size", "reason"), [(264, "at least 265"), (10_000_000, "there are")])
def test_an_impossible_size_is_refused_with_the_possible_one(size: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        build_vocabulary(size)
