from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.budget import BudgetKeeper, ReasoningBudget

THINK = {"opening": b"<think>", "closing": b"</think>"}


def steer(
    chosen: bytes, tokens: int, *, inside: bool = False, ending: bytes = b"</think>"
) -> bytes:
    """What becomes of an answer in which every byte is a token."""
    budget = ReasoningBudget(tokens, ending=tuple(ending), inside=inside, **THINK)
    keeper = BudgetKeeper(budget, lambda token: bytes([token]))
    return bytes(keeper.steer(token) for token in chosen)


def test_reasoning_is_closed_when_its_tokens_are_spent() -> None:
    assert steer(b"<think>abcdefghijk", 3) == b"<think>abc</think>"


def test_reasoning_that_the_prompt_opened_counts_from_the_start() -> None:
    assert steer(b"abcdefghijklmno", 2, inside=True) == b"ab</think>klmno"


def test_reasoning_within_its_budget_is_left_alone() -> None:
    text = b"<think>abc</think>An answer of any length."
    assert steer(text, 12) == text


def test_no_reasoning_at_all_can_be_had() -> None:
    assert steer(b"abcdefgh", 0, inside=True) == b"</think>"


def test_each_piece_of_reasoning_has_the_whole_budget() -> None:
    text = b"<think>abc</think>x<think>abc</think>"
    assert steer(text, 11) == text


def test_a_character_is_not_cut() -> None:
    text = "ab€".encode()
    assert steer(text + b"cdefghij", 3, inside=True) == text + b"</think>"


def test_tokens_may_lie_across_marks() -> None:
    pieces = [b"<thi", b"nk>a", b"b", b"c", b"d"]
    budget = ReasoningBudget(1, ending=(9,), **THINK)
    keeper = BudgetKeeper(budget, lambda token: pieces[token] if token < 9 else b"</think>")
    assert [keeper.steer(token) for token in range(5)] == [0, 1, 2, 9, 4]


@given(st.binary(max_size=60), st.integers(0, 20), st.booleans())
def test_reasoning_never_takes_many_more_tokens_than_it_may(
    chosen: bytes, tokens: int, inside: bool
) -> None:
    written = steer(chosen, tokens, inside=inside)
    assert len(written) == len(chosen)
    if inside and b"</think>" not in written:
        assert len(written) <= tokens + 3 + len(b"</think>")
