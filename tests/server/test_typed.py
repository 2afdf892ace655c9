"""A few keystrokes told from another file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import CompletionRequest, Generation
from localserve.server.typed import (
    BEFORE_CHARACTERS,
    BEHIND_CHARACTERS,
    MOST_TYPED_CHARACTERS,
    Place,
    place_of,
    typed_on,
)

FILE = "".join(f"line {number}: value_{number} = compute({number})\n" for number in range(400))
CURSOR = 6_000


def at(cursor: int, *, before: int = 10_000, behind: int = 10_000, typed: str = "") -> Place:
    """A cursor in the file, seen through a window, behind what was typed there."""
    text = (FILE[:cursor] + typed)[-before:]
    place = place_of(CompletionRequest("", (text,), suffix=FILE[cursor:][:behind]))
    assert place is not None
    return place


@pytest.mark.parametrize("typed", ["x", "xyz", "ret", "for item in items:\n        "])
@pytest.mark.parametrize("window", [400, 10_000])
def test_what_is_typed_and_deleted_is_the_same_place(typed: str, window: int) -> None:
    old, new = at(CURSOR, before=window), at(CURSOR, before=window, typed=typed)
    assert typed_on(old, new)
    assert typed_on(new, old)


@pytest.mark.parametrize("typed", ["x", "(", "print("])
def test_brackets_that_editors_close_by_themselves_do_not_matter(typed: str) -> None:
    old, new = at(CURSOR), at(CURSOR, typed=typed)
    closed = Place(new.before, ")" + new.behind)
    assert typed_on(old, closed)
    assert typed_on(closed, old)


def test_a_window_may_end_sooner() -> None:
    assert typed_on(at(CURSOR, behind=300), at(CURSOR, behind=250, typed="x"))


def test_the_same_again_is_no_keystroke() -> None:
    assert not typed_on(at(CURSOR), at(CURSOR))


def test_another_place_of_the_file_is_none() -> None:
    assert not typed_on(at(CURSOR), at(CURSOR + 500))
    assert not typed_on(at(CURSOR), at(CURSOR - 500))


def test_a_pasted_text_is_none() -> None:
    assert not typed_on(at(CURSOR), at(CURSOR, typed="x" * (MOST_TYPED_CHARACTERS + 1)))


def test_another_file_with_the_same_end_is_none() -> None:
    other = Place("import os\n" * 40 + "x", at(CURSOR).behind)
    assert not typed_on(at(CURSOR), other)


def test_two_new_files_have_too_little_in_common() -> None:
    assert not typed_on(Place("# ", ""), Place("# a", ""))
    assert typed_on(
        Place("# a file of its own, with a head", "\n"),
        Place("# a file of its own, with a head.", "\n"),
    )


@pytest.mark.parametrize(
    "prompt",
    [
        "<|fim_prefix|>{before}<|fim_suffix|>{behind}<|fim_middle|>",
        "# some/file.py\n<fim_prefix>{before}<fim_suffix>{behind}<fim_middle>",
        "<PRE> {before} <SUF>{behind} <MID>",
        "<｜fim▁begin｜>{before}<｜fim▁hole｜>{behind}<｜fim▁end｜>",
        "[SUFFIX]{behind}[PREFIX]{before}",
    ],
)
def test_prompts_that_clients_put_together_are_read(prompt: str) -> None:
    places = [
        place_of(CompletionRequest("", (prompt.format(before=one.before, behind=one.behind),)))
        for one in (at(CURSOR), at(CURSOR, typed="x"), at(CURSOR + 700))
    ]
    old, new, other = places
    assert old is not None
    assert new is not None
    assert other is not None
    assert typed_on(old, new)
    assert not typed_on(old, other)


@pytest.mark.parametrize(
    "request_",
    [
        CompletionRequest("", ("a prompt " * 20,)),
        CompletionRequest("", ("<|fim_prefix|>without the rest",)),
        CompletionRequest("", ((1, 2, 3),), suffix="x"),
        CompletionRequest("", ("a", "b"), suffix="x"),
        CompletionRequest("", ("a",), suffix="x", generation=Generation(choices=2)),
    ],
)
def test_what_asks_for_no_one_middle_has_no_place(request_: CompletionRequest) -> None:
    assert place_of(request_) is None


@given(
    before=st.text("ab\n", min_size=32, max_size=90),
    typed=st.text("ab\n", min_size=1),
    behind=st.text("ab\n", max_size=40),
)
def test_whatever_is_typed_behind_enough_text_is_the_same_place(
    before: str, typed: str, behind: str
) -> None:
    old, new = Place(before, behind), Place(before + typed[:MOST_TYPED_CHARACTERS], behind)
    assert typed_on(old, new)
    assert typed_on(new, old)


def test_only_what_is_near_is_kept() -> None:
    place = place_of(CompletionRequest("", ("x" * 1_000_000,), suffix="y" * 1_000_000))
    assert place == Place("x" * BEFORE_CHARACTERS, "y" * BEHIND_CHARACTERS)
