from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.prefixes import HALF_LIFE_SECONDS, KeptPrefixes, common_length
from tests.engine.rig import token_array


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_common_length_counts_equal_tokens_from_the_start(
    first: list[int], second: list[int]
) -> None:
    expected = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        expected += 1
    assert common_length(token_array(*first), token_array(*second)) == expected


def kept_with(*used: float) -> KeptPrefixes:
    """Slots 0, 1 … last used at these times."""
    kept = KeptPrefixes()
    for slot, when in enumerate(used):
        kept.keep(slot, when)
    return kept


def test_of_equal_prefixes_the_least_recently_used_goes_first() -> None:
    kept = kept_with(30.0, 10.0, 20.0)
    assert kept.least_valuable(lambda slot: 100, 40.0) == 1
    assert kept.least_valuable(lambda slot: 100, 40.0, besides=1) == 2
    kept.keep(1, 40.0)
    assert kept.least_valuable(lambda slot: 100, 40.0) == 2


def test_a_short_new_prefix_goes_before_a_long_old_one() -> None:
    kept = kept_with(0.0, 100.0)
    assert kept.least_valuable({0: 2_000, 1: 60}.__getitem__, 100.0) == 1


def test_a_long_prefix_that_nobody_uses_any_more_goes_in_the_end() -> None:
    kept = kept_with(0.0, 6 * HALF_LIFE_SECONDS)
    assert kept.least_valuable({0: 2_000, 1: 60}.__getitem__, 6 * HALF_LIFE_SECONDS) == 0


def test_what_saves_nothing_goes_first_and_nothing_is_dropped_of_nothing() -> None:
    kept = kept_with(0.0, 5.0)
    assert kept.least_valuable({0: 10, 1: 0}.__getitem__, 5.0) == 1
    assert KeptPrefixes().least_valuable(lambda slot: 1, 0.0) is None
