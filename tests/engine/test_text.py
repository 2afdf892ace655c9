from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.text import Piece, TextAssembler


def assemble(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[str, str | None]:
    """All text that is given out for the pieces, and the stop string that ended it."""
    assembler: TextAssembler[int] = TextAssembler(stop)
    text = ""
    for raw in pieces:
        piece = assembler.feed(raw)
        text += piece.text
        if piece.stopped_by is not None:
            return text, piece.stopped_by
    piece = assembler.finish()
    return text + piece.text, piece.stopped_by


def first_complete_stop(text: str, stop: tuple[str, ...]) -> tuple[str, str | None]:
    """What is to be given out: the text before the stop string that is complete first."""
    for end in range(1, len(text) + 1):
        ending = [one for one in stop if text[:end].endswith(one)]
        if ending:
            longest = max(ending, key=len)
            return text[: end - len(longest)], longest
    return text, None


def test_a_character_is_given_out_when_its_last_byte_arrives() -> None:
    assembler: TextAssembler[int] = TextAssembler()
    first, second, third = (assembler.feed(bytes([byte])).text for byte in "€".encode())
    assert (first, second, third) == ("", "", "€")


def test_a_cut_off_character_becomes_a_replacement_character_at_the_end() -> None:
    assert assemble([b"a", "€".encode()[:2]]) == ("a\N{REPLACEMENT CHARACTER}", None)


def test_a_stop_string_across_token_borders_is_found() -> None:
    assert assemble([b"one E", b"N", b"D two"], ("END",)) == ("one ", "END")


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    assembler: TextAssembler[int] = TextAssembler(("END",))
    assert assembler.feed(b"one EN").text == "one "
    assert assembler.feed(b"E").text == "EN"
    assert assembler.feed(b"Nx").text == "ENx"


def test_the_beginning_of_a_stop_string_is_given_out_at_the_end() -> None:
    assembler: TextAssembler[int] = TextAssembler(("END",))
    assembler.feed(b"one EN")
    assert assembler.finish() == Piece("EN")


def test_a_stop_string_at_the_very_start_leaves_no_text() -> None:
    assert assemble([b"EN", b"D"], ("END",)) == ("", "END")


@pytest.mark.parametrize("pieces", [[b"xabcd"], [b"x", b"a", b"b", b"c", b"d"], [b"xab", b"cd"]])
def test_of_overlapping_stop_strings_the_first_that_is_complete_ends_the_answer(
    pieces: list[bytes],
) -> None:
    assert assemble(pieces, ("abcd", "bc")) == ("xa", "bc")


def test_of_stop_strings_that_end_together_the_longest_is_named() -> None:
    assert assemble([b"x", b"ab"], ("b", "ab")) == ("x", "ab")


def test_an_empty_stop_string_stops_nothing() -> None:
    assert assemble([b"abc"], ("",)) == ("abc", None)


def test_entries_come_with_the_text_that_holds_them() -> None:
    assembler: TextAssembler[int] = TextAssembler(("END",))
    assert assembler.feed(b"a", 1) == Piece("a", (1,))
    assert assembler.feed(b"bE", 2) == Piece("b")
    assert assembler.feed(b"N", 3) == Piece("")
    assert assembler.feed(b"c", 4) == Piece("ENc", (2, 3, 4))


def test_entries_of_a_stop_string_are_not_given_out() -> None:
    assembler: TextAssembler[int] = TextAssembler(("END",))
    assert assembler.feed(b"a", 1) == Piece("a", (1,))
    assembler.feed(b"E", 2)
    assert assembler.feed(b"ND", 3) == Piece("", (), stopped_by="END")


def test_held_entries_are_given_out_at_the_end() -> None:
    assembler: TextAssembler[int] = TextAssembler(("END",))
    assembler.feed(b"E", 1)
    assembler.feed(b"", 2)
    assert assembler.finish() == Piece("E", (1, 2))


@st.composite
def split_bytes(draw: st.DrawFn, text: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    whole = draw(text)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    borders = [0, *cuts, len(whole)]
    return whole, [whole[a:b] for a, b in pairwise(borders)]


@given(
    split_bytes(st.text(alphabet="abé€😀", max_size=30).map(str.encode)),
    st.lists(st.text(alphabet="abé€😀", min_size=1, max_size=4), max_size=3).map(tuple),
)
def test_any_split_of_a_text_gives_what_stands_before_its_first_stop(
    split: tuple[bytes, list[bytes]], stop: tuple[str, ...]
) -> None:
    whole, pieces = split
    assert assemble(pieces, stop) == first_complete_stop(whole.decode(), stop)


@given(split_bytes(st.binary(max_size=20)))
def test_any_split_of_any_bytes_decodes_like_the_whole(split: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = split
    assert assemble(pieces) == (whole.decode("utf-8", "replace"), None)


@given(
    split_bytes(st.text(alphabet="ab€", max_size=30).map(str.encode)),
    st.lists(st.text(alphabet="ab€", min_size=1, max_size=4), max_size=3).map(tuple),
)
def test_entries_are_given_out_in_order_and_without_a_stop_none_is_lost(
    split: tuple[bytes, list[bytes]], stop: tuple[str, ...]
) -> None:
    _, pieces = split
    assembler: TextAssembler[int] = TextAssembler(stop)
    given_out: list[int] = []
    for number, raw in enumerate(pieces):
        piece = assembler.feed(raw, number)
        given_out += piece.entries
        if piece.stopped_by is not None:
            break
    else:
        given_out += assembler.finish().entries
        assert len(given_out) == len(pieces)
    assert given_out == list(range(len(given_out)))


def test_the_places_of_special_tokens_come_with_the_text_that_holds_them() -> None:
    assembler: TextAssembler[int] = TextAssembler()
    assert assembler.feed(b"ab") == Piece("ab")
    assert assembler.feed(b"<x>", special=True) == Piece("<x>", special_at=(0,))
    assert assembler.feed(b"<x>") == Piece("<x>")


def test_a_special_token_behind_text_that_was_held_back_has_its_place_there() -> None:
    assembler: TextAssembler[int] = TextAssembler(("END",))
    assembler.feed(b"a EN")
    assert assembler.feed(b"<x>", special=True) == Piece("EN<x>", special_at=(2,))
    assembler.feed(b"E")
    assembler.feed(b"E", special=True)
    assert assembler.finish() == Piece("E", special_at=(0,))


def test_a_special_token_ends_a_character_that_broke_off() -> None:
    assembler: TextAssembler[int] = TextAssembler()
    assembler.feed("€".encode()[:2])
    piece = assembler.feed(b"<x>", special=True)
    assert piece == Piece("\N{REPLACEMENT CHARACTER}<x>", special_at=(1,))


def indented(pieces: list[bytes], least: int, stop: tuple[str, ...] = ()) -> tuple[str, bool]:
    """All text that is given out for the pieces, and whether it was cut."""
    assembler: TextAssembler[int] = TextAssembler(stop, least)
    text = ""
    for raw in pieces:
        piece = assembler.feed(raw)
        text += piece.text
        if piece.cut or piece.stopped_by is not None:
            return text, piece.cut
    piece = assembler.finish()
    return text + piece.text, piece.cut


@pytest.mark.parametrize(
    ("text", "given", "cut"),
    [
        ("x\n    y\n    z", "x\n    y\n    z", False),
        ("x\n    y\n  z", "x\n    y\n  ", True),
        ("x\n    y\nz", "x\n    y\n", True),
        ("x\n\t\t\t\ty", "x\n\t\t\t\ty", False),
        ("x\n\n    y", "x\n", True),
        ("x\n  ", "x\n  ", False),
        ("x", "x", False),
    ],
)
def test_a_line_that_is_indented_too_little_ends_the_text(text: str, given: str, cut: bool) -> None:
    assert indented([text.encode()], 4) == (given, cut)
    assert indented([bytes([byte]) for byte in text.encode()], 4) == (given, cut)


def test_an_indentation_is_held_back_until_it_is_long_enough() -> None:
    assembler: TextAssembler[int] = TextAssembler((), 2)
    assert assembler.feed(b"x\n").text == "x"
    assert assembler.feed(b" ").text == ""
    assert assembler.feed(b" y").text == "\n  y"


def test_what_comes_first_ends_the_text_a_stop_string_or_a_short_line() -> None:
    assert indented([b"a END\nb"], 2, ("END",)) == ("a ", False)
    assert indented([b"a\nb END"], 2, ("END",)) == ("a\n", True)


def test_no_indentation_is_asked_for_by_zero() -> None:
    assert indented([b"x\ny\n\nz"], 0) == ("x\ny\n\nz", False)
