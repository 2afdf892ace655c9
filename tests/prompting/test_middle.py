"""The texts around a middle, as tokens. Here every character is a token: its code point."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import ExtraText, InfillRequest
from localserve.engine.runner import FillMarkers
from localserve.prompting.middle import STRIDE_TOKENS, middle_prompt

PRE, SUF, MID, REP, SEP, BOS = range(-6, 0)
PLAIN = FillMarkers(PRE, SUF, MID)
OF_REPOSITORIES = FillMarkers(PRE, SUF, MID, repository=REP, file=SEP)
MARKS = {PRE: "<PRE>", SUF: "<SUF>", MID: "<MID>", REP: "<REP>", SEP: "<SEP>", BOS: "<BOS>"}


def tokenize(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def prompt(
    prefix: str = "",
    suffix: str = "",
    begun: str = "",
    *extra: tuple[str, str],
    markers: FillMarkers = PLAIN,
    begin: int | None = None,
    cells: int = 4_000,
) -> tuple[str, int]:
    """The prompt in letters, and what was left out."""
    asked = InfillRequest(
        "m", prefix, suffix, begun, tuple(ExtraText(name, text) for name, text in extra)
    )
    middle = middle_prompt(asked, markers, tokenize, begin=begin, cells=cells)
    letters = [MARKS[token] if token < 0 else chr(token) for token in middle.tokens]
    return "".join(letters), middle.left_out


def test_what_the_middle_begins_with_is_the_end_of_the_prefix() -> None:
    assert prompt("a", "c", "b") == ("<PRE>ab<SUF>c<MID>", 0)


def test_what_begins_all_prompts_stands_first() -> None:
    text, _ = prompt("a", "c", "", ("f.py", "x"), markers=OF_REPOSITORIES, begin=BOS)
    assert text.startswith("<BOS><REP>")


def test_files_of_a_repository_stand_between_their_markers() -> None:
    text, left_out = prompt(
        "a", "c", "b", ("x.py", "1\n"), ("y.py", "2\n"), markers=OF_REPOSITORIES
    )
    assert left_out == 0
    assert text == ("<REP>myproject\n<SEP>x.py\n1\n<SEP>y.py\n2\n<SEP>filename\n<PRE>ab<SUF>c<MID>")


def test_without_markers_for_files_their_texts_stand_before_all() -> None:
    text, _ = prompt("a", "c", "", ("x.py", "1"))
    assert text == "\n\n--- x.py ---\n\n1<PRE>a<SUF>c<MID>"


def test_a_model_may_want_the_suffix_first_and_no_marker_for_the_middle() -> None:
    markers = FillMarkers(PRE, SUF, None, suffix_first=True)
    assert prompt("a", "c", "b", markers=markers) == ("<SUF>c<PRE>ab", 0)


def test_markers_in_texts_are_only_text() -> None:
    assert prompt("<|fim_suffix|>", "", "")[0] == "<PRE><|fim_suffix|><SUF><MID>"


def test_far_from_the_middle_is_left_out_first() -> None:
    prefix, suffix = "p" * 5_000 + "NEAR", "near" + "s" * 5_000
    text, left_out = prompt(prefix, suffix, cells=1_000)
    before, behind = text.removeprefix("<PRE>").removesuffix("<MID>").split("<SUF>")
    assert before.endswith("NEAR")
    assert behind.startswith("near")
    assert 2 * len(behind) < len(before)
    assert left_out == len(prefix) + len(suffix) - len(before) - len(behind)
    assert len(before) + len(behind) <= 750


def test_what_the_suffix_does_not_need_is_the_prefixs_and_the_other_way_round() -> None:
    before, _ = prompt("p" * 5_000, "s", cells=1_000)
    assert before.count("p") > 500
    behind, _ = prompt("p", "s" * 5_000, cells=1_000)
    assert behind.count("s") > 700


def test_typing_does_not_move_the_beginning_of_a_prefix_that_is_cut() -> None:
    def beginning(typed: int) -> str:
        letters = "".join(chr(1_000 + index) for index in range(9_000))
        return prompt(letters + "x" * typed, "s", cells=4_000)[0][:20]

    assert len({beginning(typed) for typed in range(0, STRIDE_TOKENS // 2, 16)}) <= 2


def test_other_files_get_a_share_of_their_own_and_the_last_ones_stay() -> None:
    files = [(f"{number}.py", str(number) * 400) for number in range(9)]
    text, left_out = prompt("a", "c", "", *files, cells=3_000)
    assert "8.py" in text
    assert "7.py" in text
    assert "4.py" not in text
    assert left_out > 0
    empty, _ = prompt("", "", "", *files, cells=3_000)
    assert text.split("<PRE>")[0] == empty.split("<PRE>")[0]  # a warm-up serves the real request


def test_a_monstrous_text_is_not_tokenized_whole() -> None:
    read: list[int] = []

    def counting(text: str) -> list[int]:
        read.append(len(text))
        return tokenize(text)

    asked = InfillRequest("m", "p" * 10**6, "s" * 10**6, "", (ExtraText("x", "e" * 10**6),))
    middle = middle_prompt(asked, PLAIN, counting, begin=None, cells=100)
    assert sum(read) < 10_000
    assert middle.left_out > 10**5


@given(
    prefix=st.text("ab\n", max_size=400),
    suffix=st.text("cd\n", max_size=400),
    begun=st.text("ef", max_size=20),
    extra=st.lists(st.tuples(st.text("g", max_size=5), st.text("hi\n", max_size=200)), max_size=5),
    cells=st.integers(64, 600),
    markers=st.sampled_from(
        [PLAIN, OF_REPOSITORIES, FillMarkers(PRE, SUF, None, suffix_first=True)]
    ),
)
def test_a_prompt_leaves_room_for_the_middle_and_keeps_what_is_near(
    prefix: str,
    suffix: str,
    begun: str,
    extra: list[tuple[str, str]],
    cells: int,
    markers: FillMarkers,
) -> None:
    asked = InfillRequest("m", prefix, suffix, begun, tuple(ExtraText(*one) for one in extra))
    middle = middle_prompt(asked, markers, tokenize, begin=None, cells=cells)
    assert len(middle.tokens) <= cells - cells // 4 + 16
    assert middle.tokens.count(PRE) == middle.tokens.count(SUF) == 1
    before = middle.tokens[middle.tokens.index(PRE) + 1 :]
    kept = "".join(chr(token) for token in takewhile(lambda token: token > 0, before))
    assert (prefix + begun).endswith(kept)
    assert middle.left_out or kept == prefix + begun


@pytest.mark.parametrize("cells", [1, 8, 32])
def test_a_tiny_context_is_no_error_here(cells: int) -> None:
    text, left_out = prompt("abc" * 99, "def" * 99, "", ("x", "y"), cells=cells)
    assert left_out > 0
    assert "<PRE>" in text
