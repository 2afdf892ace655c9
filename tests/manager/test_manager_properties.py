"""Whatever is asked in whatever order: memory suffices, nobody in use goes, all requests end."""

from __future__ import annotations

import asyncio
import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.errors import LocalserveError, MemoryBusy, ModelInUse, ModelTooLarge
from tests.manager.rig import Rig

TOTAL = 100
SIZES = {"a": 50, "b": 45, "c": 30, "d": 80, "huge": 101}
NAMES = st.sampled_from(list(SIZES))

uses = st.tuples(st.just("use"), NAMES, st.integers(0, 4))
changes = st.tuples(
    st.sampled_from(["unload", "force", "pin", "unpin", "leave"]), NAMES, st.just(0)
)
steps = st.lists(st.tuples(st.integers(0, 3), uses | changes), max_size=25)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_no_order_of_requests_breaks_a_promise(
    drawn: list[tuple[int, tuple[str, str, int]]],
) -> None:
    asyncio.run(play(drawn))


async def play(drawn: list[tuple[int, tuple[str, str, int]]]) -> None:
    rig = Rig(SIZES, TOTAL, load_seconds=lambda name: 0.0002, memory_wait_seconds=0.02)
    forced: set[str] = set()
    tasks: list[asyncio.Task[None]] = []
    for pause, (what, name, length) in drawn:
        for _ in range(pause):
            await asyncio.sleep(0)
        if what == "leave" and tasks:
            tasks[-1].cancel()
        elif what == "use":
            tasks.append(asyncio.create_task(use(rig, name, length / 10_000, forced)))
        else:
            tasks.append(asyncio.create_task(change(rig, what, name, forced)))
    async with asyncio.timeout(20):  # else it is a deadlock
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            assert task.exception() is None, task.exception()
    assert rig.overruns == []
    assert rig.manager.violations == ()
    assert rig.held_bytes() == sum(SIZES[name] for name in rig.loaded()) <= TOTAL
    async with asyncio.timeout(20):
        await rig.manager.close()
    assert rig.held_bytes() == 0
    assert rig.loaded() == set()


async def use(rig: Rig, name: str, seconds: float, forced: set[str]) -> None:
    """Ends with an answer, or with an error that has a reason."""
    try:
        async with rig.manager.lease(name) as lease:
            backend = rig.backend(name)
            assert lease.backend is backend
            await asyncio.sleep(seconds)
            assert not backend.closed or name in forced
    except ModelTooLarge:
        assert name == "huge" or rig.pinned_once
    except MemoryBusy:
        assert rig.loads
    except LocalserveError:
        assert name in forced


async def change(rig: Rig, what: str, name: str, forced: set[str]) -> None:
    if what == "force":
        forced.add(name)
    with contextlib.suppress(ModelInUse):
        if what in ("unload", "force"):
            await rig.manager.unload(name, force=what == "force")
        elif what in ("pin", "unpin"):
            rig.pinned_once = rig.pinned_once or what == "pin"
            await rig.manager.set_pin(name, what == "pin")
