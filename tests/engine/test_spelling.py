from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.spelling import align
from tests.engine.rig import token_array

PIECES: dict[int, bytes | None] = {
    1: b"a",
    2: b"b",
    3: b"ab",
    4: b"aba",
    5: b"bb",
    6: "é".encode()[:1],
    7: "é".encode()[1:],
    8: "é".encode(),
    9: None,  # a control token that is written "ab"
    10: None,
}


def aligned(held: list[int], wanted: list[int]) -> tuple[int, int]:
    return align(token_array(*held), token_array(*wanted), PIECES.get)


def meaning(tokens: list[int]) -> list[object]:
    """Bytes one by one, and control tokens as what they are."""
    units: list[object] = []
    for token in tokens:
        piece = PIECES[token]
        units.extend(piece if piece is not None else [f"control {token}"])
    return units


@pytest.mark.parametrize(
    ("held", "wanted", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], (3, 3)),
        ([9, 1, 2, 10], [9, 3, 10], (4, 3)),  # "a" "b" was written, "ab" comes back
        ([9, 3, 10], [9, 1, 2, 10], (3, 4)),
        ([4, 2], [3, 3], (2, 2)),  # ends that meet only after several tokens
        ([4, 2, 1], [3, 3, 2], (2, 2)),
        ([4], [3, 3], (0, 0)),  # no common end
        ([9, 1], [3, 1], (0, 0)),  # text that looks like a control token is none
        ([3, 1], [9, 1], (0, 0)),
        ([1, 9], [1, 10], (1, 1)),
        ([6, 7, 2], [8, 2], (3, 2)),  # characters cut between tokens
        ([6, 2], [8, 2], (0, 0)),
        ([], [1], (0, 0)),
        ([1], [], (0, 0)),
    ],
)
def test_beginnings_that_stand_for_the_same_text(
    held: list[int], wanted: list[int], expected: tuple[int, int]
) -> None:
    assert aligned(held, wanted) == expected


some_tokens = st.lists(st.sampled_from(sorted(PIECES)), max_size=8)


@given(some_tokens, some_tokens)
def test_the_longest_equal_beginnings_are_found_and_no_others(
    held: list[int], wanted: list[int]
) -> None:
    equal = [
        ends
        for ends in itertools.product(range(len(held) + 1), range(len(wanted) + 1))
        if meaning(held[: ends[0]]) == meaning(wanted[: ends[1]])
    ]
    assert aligned(held, wanted) == max(equal)


@given(some_tokens)
def test_any_other_tokenization_of_the_same_text_is_reused_whole(
    held: list[int],
) -> None:
    singles = {piece: token for token, piece in PIECES.items() if piece and len(piece) == 1}
    wanted: list[int] = []
    for token in held:
        piece = PIECES[token]
        wanted.extend([token] if piece is None else [singles[bytes([one])] for one in piece])
    assert aligned(held, wanted) == (len(held), len(wanted))
