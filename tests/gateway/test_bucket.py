"""Token buckets by a fake clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.gateway.bucket import BucketState, Charge, Limit, MemoryBuckets
from tests.gateway.conftest import UNHURRIED

SIXTY = Limit(60, 60.0)
"""One a second, sixty at once."""


class Rig:
    """Buckets of one process, and the time."""

    def __init__(self, max_buckets: int = 100) -> None:
        self.now = 1000.0
        self.buckets = MemoryBuckets(lambda: self.now, max_buckets)

    async def take(self, cost: float, bucket: str = "a", limit: Limit = SIXTY) -> BucketState:
        (state,) = await self.buckets.take([Charge(bucket, limit, cost)])
        return state

    async def settle(self, cost: float) -> BucketState:
        (state,) = await self.buckets.settle([Charge("a", SIXTY, cost)])
        return state


async def test_a_burst_is_granted_and_the_next_is_told_when() -> None:
    rig = Rig()
    for left in range(59, -1, -1):
        assert (await rig.take(1)).remaining == left
    refused = await rig.take(1)
    assert (refused.remaining, refused.retry_after_seconds) == (0, 1.0)
    assert refused.reset_after_seconds == 60.0
    rig.now += 0.5
    assert (await rig.take(1)).retry_after_seconds == 0.5
    rig.now += 0.5
    assert (await rig.take(1)).retry_after_seconds == 0.0
    assert (await rig.take(1)).retry_after_seconds == 1.0


async def test_it_fills_evenly_and_never_above_its_burst() -> None:
    rig = Rig()
    await rig.take(60)
    rig.now += 30
    assert (await rig.take(0)).remaining == 30
    rig.now += 10_000
    assert (await rig.take(0)).remaining == 60


async def test_fractions_of_a_second_are_not_lost() -> None:
    rig = Rig()
    await rig.take(60)
    granted = 0
    for _ in range(100):  # asked more often than it fills
        rig.now += 0.1
        granted += (await rig.take(1)).retry_after_seconds == 0
    assert granted == pytest.approx(10, abs=1)


async def test_what_is_refused_costs_nothing() -> None:
    rig = Rig()
    await rig.take(50)
    for _ in range(5):
        assert (await rig.take(20)).retry_after_seconds == 10.0
    assert (await rig.take(10)).retry_after_seconds == 0.0


async def test_of_several_charges_all_are_taken_or_none() -> None:
    rig = Rig()
    small = Limit(6, 6.0)
    charges = [Charge("a", SIXTY, 5), Charge("b", small, 5)]
    assert all(state.retry_after_seconds == 0 for state in await rig.buckets.take(charges))
    states = await rig.buckets.take(charges)
    assert [state.retry_after_seconds for state in states] == [0.0, 40.0]
    assert (await rig.take(0)).remaining == 55


async def test_what_was_not_used_is_given_back_and_what_was_used_besides_is_a_debt() -> None:
    rig = Rig()
    await rig.take(60)
    assert (await rig.settle(-45)).remaining == 45
    assert (await rig.settle(-1000)).remaining == 60
    debt = await rig.settle(90)
    assert (debt.remaining, debt.level) == (0, -30)
    assert (await rig.take(1)).retry_after_seconds == 31.0


async def test_callers_have_buckets_of_their_own_and_only_so_many_are_remembered() -> None:
    rig = Rig(max_buckets=2)
    for bucket in ("a", "b", "c"):
        await rig.take(60, bucket)
    assert (await rig.take(1, "c")).retry_after_seconds > 0
    assert (await rig.take(1, "b")).retry_after_seconds > 0
    assert (await rig.take(1, "a")).retry_after_seconds == 0, "forgotten"


@UNHURRIED
@given(
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 60), st.booleans()), max_size=60),
    st.integers(1, 600),
)
async def test_never_more_than_burst_and_rate_allow_is_granted(
    asked: list[tuple[float, int, bool]], per_minute: int
) -> None:
    rig = Rig()
    limit = Limit(per_minute, max(1.0, per_minute / 2))
    began, used = rig.now, 0.0
    for wait, cost, gives_back in asked:
        rig.now += wait
        cost = min(cost, int(limit.burst))
        state = await rig.take(cost, limit=limit)
        if state.retry_after_seconds == 0:
            used += cost
            if gives_back:
                await rig.buckets.settle([Charge("a", limit, -cost / 2)])
                used -= cost / 2
        assert used <= limit.burst + (rig.now - began) * limit.per_second + 1e-6
        assert 0 <= state.remaining <= limit.burst


@UNHURRIED
@given(st.floats(0, 100), st.integers(1, 60))
async def test_after_the_wait_that_was_told_it_is_granted(used: float, cost: int) -> None:
    rig = Rig()
    await rig.settle(used)
    wait = (await rig.take(cost)).retry_after_seconds
    rig.now += wait + 1e-6
    assert wait == 0 or (await rig.take(cost)).retry_after_seconds == 0
