"""Texts as the prompts of one model. Here every byte is a token."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from localserve.backends import prompts as module
from localserve.backends.prompts import Prompts
from localserve.chat import InfillRequest
from localserve.engine.runner import FillMarkers
from localserve.errors import ContextOverflow, InvalidRequest, NoFillMiddle

BOS, EOS, SPECIAL = 256, 257, 258
SPELLED = {BOS: b"<s>", EOS: b"</s>", SPECIAL: b"<x>"}


@dataclass
class Bytes:
    """A vocabulary. It remembers what it tokenized."""

    size: int = 259
    begin: int | None = BOS
    end: int | None = EOS
    adds_begin: bool = True
    fill_markers: FillMarkers | None = None
    tokenized: list[str] = field(default_factory=list)

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        self.tokenized.append(text)
        begin = [BOS] if add_special and self.adds_begin else []
        if parse_special and text.startswith("<x>"):
            return [*begin, SPECIAL, *text[3:].encode()]
        return [*begin, *text.encode()]

    def text(self, token: int | None) -> str:
        return "" if token is None else SPELLED[token].decode()

    def spelling(self, token: int) -> bytes:
        return SPELLED.get(token) or bytes([token])

    def least_tokens(self, text_bytes: int) -> int:
        return text_bytes


def prompts(vocabulary: Bytes | None = None, *, cells: int = 100) -> Prompts:
    return Prompts(vocabulary or Bytes(), "m", cells=cells)


def test_a_text_begins_with_what_all_prompts_begin_with() -> None:
    assert prompts().of_prompt("ab") == [BOS, *b"ab"]
    assert prompts().of_prompt("<x>ab") == [BOS, SPECIAL, *b"ab"]


def test_a_text_that_brings_its_own_beginning_gets_no_second_one() -> None:
    assert prompts().of_prompt("<s>ab") == list(b"<s>ab")


def test_ids_stay_as_they_are() -> None:
    assert prompts().of_prompt((97, SPECIAL)) == [97, SPECIAL]


def test_in_a_mix_only_a_first_text_gets_a_beginning() -> None:
    assert prompts().of_prompt(("a", 98, "c")) == [BOS, 97, 98, 99]
    assert prompts().of_prompt((97, "b", "c")) == [97, 98, 99]


def test_an_empty_prompt_is_the_beginning_of_a_text() -> None:
    assert prompts().of_prompt("") == [BOS]
    assert prompts(Bytes(adds_begin=False)).of_prompt("") == [BOS]
    with pytest.raises(InvalidRequest, match="empty"):
        prompts(Bytes(begin=None, end=None, adds_begin=False)).of_prompt("")


@pytest.mark.parametrize("prompt", [(-1,), (259,), ("a", 1 << 30)])
def test_a_token_that_there_is_not_is_refused(prompt: tuple[int | str, ...]) -> None:
    with pytest.raises(InvalidRequest, match="There is no token"):
        prompts().of_prompt(prompt)


@pytest.mark.parametrize("prompt", ["a" * 100, (97,) * 101, ("a" * 49, 97, "a" * 50)])
def test_a_prompt_that_is_longer_than_the_context_is_refused(
    prompt: str | tuple[int | str, ...],
) -> None:
    with pytest.raises(ContextOverflow) as caught:
        prompts().of_prompt(prompt)
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (101, 100)


@pytest.mark.parametrize("prompt", ["a" * 60, (97, "a" * 60)])
def test_what_could_not_fit_is_not_even_tokenized(
    monkeypatch: pytest.MonkeyPatch, prompt: str | tuple[int | str, ...]
) -> None:
    monkeypatch.setattr(module, "LONG_TEXT_BYTES", 50)
    vocabulary = Bytes()
    with pytest.raises(ContextOverflow):
        prompts(vocabulary, cells=20).of_prompt(prompt)
    assert vocabulary.tokenized == []


def test_a_count_has_no_bound() -> None:
    assert prompts(cells=3).count("a" * 60) == 61


def test_tokens_are_spelled_with_the_special_ones() -> None:
    assert prompts().spell([BOS, 97, SPECIAL]) == "<s>a<x>"
    assert prompts().spellings([0xC3, 97], "tokens") == [b"\xc3", b"a"]
    with pytest.raises(InvalidRequest, match="There is no token") as caught:
        prompts().spellings([259], "tokens")
    assert caught.value.param == "tokens"


MARKERS = FillMarkers(1, 2, 3)


def test_prefix_and_suffix_stand_between_the_markers() -> None:
    vocabulary = Bytes(fill_markers=MARKERS)
    assert prompts(vocabulary).of_suffixed("<x>", "c") == [BOS, 1, *b"<x>", 2, *b"c", 3]
    vocabulary.adds_begin = False
    assert prompts(vocabulary).of_suffixed("a", "c") == [1, *b"a", 2, *b"c", 3]


def test_a_suffix_needs_a_text_and_a_model_that_was_trained_for_it() -> None:
    with pytest.raises(InvalidRequest, match="must be text"):
        prompts(Bytes(fill_markers=MARKERS)).of_suffixed((97,), "c")
    with pytest.raises(NoFillMiddle) as caught:
        prompts().of_suffixed("a", "c")
    assert caught.value.param == "suffix"


def test_a_middle_fits_whatever_is_around_it() -> None:
    vocabulary = Bytes(fill_markers=MARKERS)
    middle = prompts(vocabulary).of_middle(InfillRequest("m", "a" * 500, "c" * 500, "<x>b"))
    assert middle.tokens[0] == BOS
    at = middle.tokens.index(2)
    assert middle.tokens[at - 4 : at] == tuple(b"<x>b")
    assert middle.left_out > 0
    assert len(middle.tokens) <= 100


def test_a_middle_needs_a_context_with_room_for_its_markers_and_a_model_that_knows_them() -> None:
    with pytest.raises(ContextOverflow):
        prompts(Bytes(fill_markers=MARKERS), cells=3).of_middle(InfillRequest("m", "a", "c"))
    with pytest.raises(NoFillMiddle):
        prompts().of_middle(InfillRequest("m", "a", "c"))
