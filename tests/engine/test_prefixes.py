from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.prefixes import KeptPrefixes, TokenArray, common_length


def array(*tokens: int) -> TokenArray:
    return np.array(tokens, dtype=np.int32)


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_length_counts_equal_tokens_from_the_start(
    first: list[int], second: list[int]
) -> None:
    expected = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        expected += 1
    assert common_length(array(*first), array(*second)) == expected


def test_the_prefix_that_shares_most_is_found() -> None:
    kept = KeptPrefixes()
    kept.keep(1, "", [1, 2, 3])
    kept.keep(2, "", [1, 2, 4, 5])
    found, length = kept.longest("", array(1, 2, 4, 6))
    assert found is not None
    assert (found.slot, length) == (2, 3)


def test_a_prefix_of_another_scope_is_not_found() -> None:
    kept = KeptPrefixes()
    kept.keep(1, "theirs", [1, 2, 3])
    assert kept.longest("ours", array(1, 2, 3)) == (None, 0)


def test_nothing_in_common_finds_nothing() -> None:
    kept = KeptPrefixes()
    kept.keep(1, "", [1, 2, 3])
    assert kept.longest("", array(2, 2, 3)) == (None, 0)


def test_the_least_recently_used_goes_first() -> None:
    kept = KeptPrefixes()
    for slot in (1, 2, 3):
        kept.keep(slot, "", [slot])
    first, second, _ = kept
    kept.touch(first)
    assert kept.oldest() is second
    assert kept.oldest(besides=second) is not None
    assert [one.slot for one in kept] == [2, 3, 1]
    assert kept.cells == 3
