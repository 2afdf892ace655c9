"""How long models stay loaded by the wishes of single requests, and names with `:latest`."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace

import pytest

from localserve.errors import ModelInUse, UnknownModel
from localserve.manager import Idle, Ready
from localserve.manager.keep_alive import KeepAlive
from localserve.manager.model import ManagedModel
from localserve.manager.wishes import Wishes
from localserve.testing import FakeBackend, fake_spec
from tests.manager.rig import Rig

NONE, MINUTE = 0.0, 60.0


async def use(rig: Rig, name: str, seconds: float | None) -> None:
    async with rig.manager.lease(name, keep_alive_seconds=seconds):
        pass


async def gone(rig: Rig, name: str) -> None:
    async with asyncio.timeout(5):
        while name in rig.loaded():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def rig_of(**options: object) -> Rig:
    return Rig({"chat": 1, "code": 1}, 100, **options)  # type: ignore[arg-type]


async def expires_in(rig: Rig, name: str) -> float | None:
    at = (await rig.manager.report_on(name)).expires_at
    return None if at is None else at - time.time()


async def test_a_wish_counts_from_the_last_request() -> None:
    rig = rig_of()
    await use(rig, "code", 0.05)
    assert "code" in rig.loaded()
    await gone(rig, "code")


async def test_zero_unloads_after_the_request() -> None:
    rig = rig_of()
    await use(rig, "code", 0)
    await gone(rig, "code")
    await use(rig, "chat", None)
    await use(rig, "chat", 0)
    await gone(rig, "chat")
    assert rig.held_bytes() == 0


async def test_a_model_on_its_way_out_is_not_said_to_be_loaded() -> None:
    rig = rig_of()
    await use(rig, "code", 0)
    assert isinstance((await rig.manager.report_on("code")).state, Idle)
    await use(rig, "code", None)
    assert isinstance((await rig.manager.report_on("code")).state, Ready)


async def test_zero_unloads_nothing_that_others_use() -> None:
    rig = rig_of()
    async with rig.manager.lease("code"):
        await use(rig, "code", 0)
        await asyncio.sleep(0.02)
        assert "code" in rig.loaded()
    await asyncio.sleep(0.02)
    assert "code" in rig.loaded()


async def test_zero_leaves_what_is_pinned() -> None:
    rig = rig_of(specs={"code": {"pin": True}})
    await use(rig, "code", 0)
    await asyncio.sleep(0.02)
    assert "code" in rig.loaded()


async def test_a_short_wish_takes_no_model_from_others() -> None:
    rig = rig_of()
    await use(rig, "code", None)
    await use(rig, "code", 0.01)
    await use(rig, "chat", 0.01)
    await asyncio.sleep(0.05)
    assert rig.loaded() == {"chat", "code"}
    assert await expires_in(rig, "chat") is None


async def test_the_longest_wish_counts_and_ends_with_the_model() -> None:
    rig = rig_of()
    await use(rig, "code", 3 * MINUTE)
    await use(rig, "code", MINUTE)
    assert await expires_in(rig, "code") == pytest.approx(3 * MINUTE, abs=5)
    await rig.manager.unload("code")
    await use(rig, "code", MINUTE)
    assert await expires_in(rig, "code") == pytest.approx(MINUTE, abs=5)


async def test_a_wish_prolongs_what_is_configured() -> None:
    rig = rig_of(keep_alive_seconds=0.02)
    await use(rig, "chat", math.inf)
    await use(rig, "code", MINUTE)
    await asyncio.sleep(0.05)
    assert rig.loaded() == {"chat", "code"}
    assert await expires_in(rig, "chat") is None


async def test_what_was_wished_to_stay_is_evicted_last() -> None:
    rig = Rig({"chat": 1, "code": 1, "big": 9}, 10)
    await use(rig, "chat", math.inf)
    await use(rig, "code", None)
    await use(rig, "big", None)
    assert rig.loaded() == {"chat", "big"}


@pytest.mark.parametrize(
    ("wishes", "own", "seconds"),
    [
        ((), MINUTE, MINUTE),
        ((None,), MINUTE, MINUTE),
        ((5.0,), MINUTE, 5.0),
        ((5.0, None), MINUTE, MINUTE),
        ((None, 90.0), MINUTE, 90.0),
        ((0.0, 7.0, 3.0), MINUTE, 7.0),
        ((math.inf,), MINUTE, math.inf),
        ((5.0, None), math.inf, math.inf),
    ],
)
def test_wishes(wishes: tuple[float | None, ...], own: float, seconds: float) -> None:
    all_of_them = Wishes()
    for wish in wishes:
        all_of_them.add(wish)
    assert all_of_them.idle_seconds(own) == seconds


async def test_latest_means_nothing() -> None:
    rig = rig_of()
    await use(rig, "Code:latest", None)
    assert rig.loads == ["code"]
    for name in ("nothing:latest", ":latest", "code:7b"):
        with pytest.raises(UnknownModel):
            await use(rig, name, None)


async def test_a_name_that_has_latest_goes_before_one_without() -> None:
    rig = Rig({"chat": 1, "code": 1, "code:latest": 1}, 100)
    await use(rig, "code:latest", None)
    assert rig.loads == ["code:latest"]


async def test_a_forgotten_model_is_unloaded_and_known_no_more() -> None:
    rig = rig_of()
    await use(rig, "code", None)
    await rig.manager.forget("code")
    assert rig.loaded() == set()
    assert [report.spec.name for report in rig.manager.report()] == ["chat"]
    await rig.manager.forget("code")


async def test_what_is_in_use_or_the_default_is_not_forgotten() -> None:
    rig = rig_of()
    async with rig.manager.lease("code"):
        with pytest.raises(ModelInUse):
            await rig.manager.forget("code")
    with pytest.raises(ModelInUse, match="where requests name none"):
        await rig.manager.forget("chat")


async def test_a_timer_begins_for_what_is_loaded_and_idle_and_none_after_the_end() -> None:
    backend = FakeBackend()
    spec = replace(fake_spec(), keep_alive_seconds=MINUTE)
    model = ManagedModel(spec, Ready(spec.name, backend.facts))
    timers = KeepAlive(0.0, is_default=lambda model: False, unload=lambda model, why: None)

    def begins() -> bool:
        timers.begin(model)
        return model.timer is not None

    assert not begins()
    model.backend = backend
    assert begins()
    model.leases = 1
    assert not begins()
    model.leases = 0
    assert begins()
    timers.end([model])
    assert model.timer is None
    assert not begins()
