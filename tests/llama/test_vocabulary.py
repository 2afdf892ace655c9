from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.engine.runner import FillMarkers
from localserve.llama.model import LlamaModel
from localserve.llama.vocabulary import LlamaVocabulary
from localserve.planner.runtime import Runtime


def _many(text: str) -> str:
    return text * 50


@pytest.fixture(scope="module")
def vocabulary(tiny_f16: Path) -> Iterator[LlamaVocabulary]:
    model = LlamaModel(tiny_f16, Runtime(0, 1))
    yield model.vocabulary
    model.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=60))
def test_any_text_comes_back_from_its_tokens(vocabulary: LlamaVocabulary, text: str) -> None:
    tokens = vocabulary.tokenize(text, add_special=False, parse_special=False)
    assert b"".join(map(vocabulary.piece, tokens)).decode() == text


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=200) | st.sampled_from([" ", "a", "the", "\n", "<|im_end|>"]).map(_many))
def test_no_text_has_fewer_tokens_than_its_bytes_allow(
    vocabulary: LlamaVocabulary, text: str
) -> None:
    least = vocabulary.least_tokens(len(text.encode()))
    assert least > 0 or not text
    for parse_special in (False, True):
        tokens = vocabulary.tokenize(text, add_special=False, parse_special=parse_special)
        assert len(tokens) >= least


def test_where_a_token_may_swallow_spaces_nothing_is_said_of_a_text(
    vocabulary: LlamaVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = LlamaVocabulary(vocabulary._weights)
    with monkeypatch.context() as patched:
        stripping = llama_cpp.LLAMA_TOKEN_ATTR_RSTRIP
        patched.setattr(llama_cpp, "llama_vocab_get_attr", lambda vocabulary, token: stripping)
        assert again.least_tokens(1 << 30) == 0


def test_where_a_byte_has_no_token_nothing_is_said_of_a_text(
    vocabulary: LlamaVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = LlamaVocabulary(vocabulary._weights)
    spelling = again.spelling
    monkeypatch.setattr(again, "spelling", lambda token: spelling(token).replace(b"q", b""))
    assert again.least_tokens(1 << 30) == 0


def test_a_lone_surrogate_is_harmless(vocabulary: LlamaVocabulary) -> None:
    assert vocabulary.tokenize("a\ud800b", add_special=False, parse_special=False)


def test_special_tokens_are_parsed_only_where_asked_for(vocabulary: LlamaVocabulary) -> None:
    plain = vocabulary.tokenize("<|im_end|>", add_special=False, parse_special=False)
    special = vocabulary.tokenize("<|im_end|>", add_special=False, parse_special=True)
    assert len(plain) > 1
    assert special == [vocabulary.end]


def test_only_ordinary_tokens_are_plain_text(vocabulary: LlamaVocabulary) -> None:
    (special,) = vocabulary.tokenize("<|im_end|>", add_special=False, parse_special=True)
    assert vocabulary.plain(special) is None
    for token in vocabulary.tokenize("some <text> ö", add_special=False, parse_special=False):
        assert vocabulary.plain(token) == vocabulary.piece(token) != b""


def test_control_tokens_add_nothing_to_an_answer_but_can_be_spelled(
    vocabulary: LlamaVocabulary,
) -> None:
    assert vocabulary.end is not None
    assert vocabulary.piece(vocabulary.end) == b""
    assert vocabulary.spelling(vocabulary.end) == b"<|im_end|>"
    assert vocabulary.text(vocabulary.end) == "<|im_end|>"
    assert vocabulary.text(None) == ""


def test_ends_are_all_tokens_that_end(vocabulary: LlamaVocabulary) -> None:
    assert vocabulary.end in vocabulary.ends
    assert all(map(vocabulary.is_end, vocabulary.ends))
    assert not vocabulary.is_end(0)


@pytest.mark.parametrize("token", [-1, 2_048, 1 << 30])
def test_a_token_that_does_not_exist_has_no_piece(vocabulary: LlamaVocabulary, token: int) -> None:
    with pytest.raises(ValueError, match="no token"):
        vocabulary.piece(token)


def test_the_tokens_that_fill_the_middle_are_found(vocabulary: LlamaVocabulary) -> None:
    markers = vocabulary.fill_markers
    assert markers is not None
    assert markers.middle is not None
    spelled = map(vocabulary.spelling, (markers.prefix, markers.suffix, markers.middle))
    assert list(spelled) == [b"<|fim_prefix|>", b"<|fim_suffix|>", b"<|fim_middle|>"]
    assert not markers.suffix_first


def test_mistrals_markers_stand_suffix_first(
    vocabulary: LlamaVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = LlamaVocabulary(vocabulary._weights)
    monkeypatch.setattr(again, "_named", {"[PREFIX]": 3, "[SUFFIX]": 4}.get)
    assert again.fill_markers == FillMarkers(3, 4, None, suffix_first=True)


def test_a_text_that_is_no_special_token_is_no_marker(vocabulary: LlamaVocabulary) -> None:
    assert vocabulary._named("<|fim_prefix|>") is not None
    assert vocabulary._named("a") is None
    assert vocabulary._named("no marker") is None


def test_an_answer_is_ended_by_a_token_that_ends_answers(vocabulary: LlamaVocabulary) -> None:
    assert vocabulary.turn_end is not None
    assert vocabulary.is_end(vocabulary.turn_end)
