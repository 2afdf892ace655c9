"""Loads on demand, evicts what is idle, and lets nobody down."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Mapping
from dataclasses import replace

import pytest

from localserve.catalog.spec import ModelSpec
from localserve.errors import (
    EngineFailed,
    MemoryBusy,
    ModelInUse,
    ModelLoading,
    ModelTooLarge,
    ModelUnusable,
    OutOfMemory,
    Overloaded,
    UnknownModel,
)
from localserve.manager import Failed, Idle, Ready, admission
from localserve.manager.need import Need
from localserve.planner.plan import Wanted
from localserve.testing import FakeRoom
from tests.manager.rig import Rig


async def until_waiting(rig: Rig, name: str, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while (await rig.manager.report_on(name)).waiting < count:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_models_that_fit_live_together() -> None:
    rig = Rig({"chat": 60, "code": 30}, 100)
    for name in ("chat", "code", "chat", None, "CODE"):
        await rig.use(name)
    assert rig.loads == ["chat", "code"]
    assert rig.loaded() == {"chat", "code"}
    assert {facts.name for facts in rig.manager.models()} == {"chat", "code"}


async def test_an_idle_model_makes_room_for_the_one_that_is_asked_for() -> None:
    rig = Rig({"chat": 60, "code": 30, "large": 70}, 100)
    for name in ("chat", "code", "large"):
        await rig.use(name)
    assert rig.loaded() == {"code", "large"}
    assert rig.overruns == []
    assert isinstance((await rig.manager.report_on("chat")).state, Idle)


async def test_a_model_in_use_is_waited_for_and_not_evicted() -> None:
    rig = Rig({"chat": 60, "large": 70}, 100)
    async with rig.manager.lease("chat"):
        waiting = asyncio.create_task(rig.use("large"))
        await until_waiting(rig, "large")
        await asyncio.sleep(0.02)
        assert rig.loaded() == {"chat"}
    await waiting
    assert rig.loaded() == {"large"}


async def test_a_wait_for_memory_that_answers_hold_is_bounded_and_says_who_holds_it() -> None:
    rig = Rig({"chat": 60, "large": 70}, 100, memory_wait_seconds=0.05)
    async with rig.manager.lease("chat") as lease:
        with pytest.raises(MemoryBusy, match="chat") as refused:
            await rig.use("large")
        assert refused.value.retry_after_seconds > 0
        assert not lease.backend.closed  # type: ignore[attr-defined]
    await rig.use("large")


async def test_a_model_that_fits_is_not_held_up_by_one_that_waits_for_memory() -> None:
    rig = Rig({"chat": 60, "large": 70, "small": 20}, 100)
    async with rig.manager.lease("chat"):
        waiting = asyncio.create_task(rig.use("large"))
        await until_waiting(rig, "large")
        await rig.use("small")
    await waiting


async def test_a_pinned_model_stays_and_what_cannot_fit_beside_it_is_refused() -> None:
    rig = Rig({"chat": 60, "large": 70}, 100, specs={"chat": {"pin": True}})
    await rig.use("chat")
    with pytest.raises(ModelTooLarge, match="pinned") as refused:
        await rig.use("large")
    assert "unpinned" in refused.value.hint
    assert rig.loaded() == {"chat"}
    await rig.manager.set_pin("chat", False)
    await rig.use("large")
    assert rig.loaded() == {"large"}


async def test_what_can_never_fit_is_refused_with_numbers_and_evicts_nobody() -> None:
    rig = Rig({"chat": 60, "huge": 200 << 20}, 100 << 20)
    await rig.use("chat")
    with pytest.raises(ModelTooLarge, match=r"needs 200 MiB .* may take 100 MiB") as refused:
        await rig.use("huge")
    assert "smaller" in refused.value.hint
    assert rig.loaded() == {"chat"}


async def test_the_context_with_which_it_would_fit_is_named() -> None:
    rig = Rig({"chat": 60}, 3_000, context_tokens=8_192)
    with pytest.raises(ModelTooLarge) as refused:
        await rig.use("chat")
    assert "--ctx 2048" in refused.value.hint


async def test_requests_share_one_load_and_are_served_in_their_order() -> None:
    rig = Rig({"chat": 1}, 100, load_seconds=lambda name: 0.02)
    served: list[int] = []

    async def ask(number: int) -> None:
        async with rig.manager.lease("chat"):
            served.append(number)

    await asyncio.gather(*(ask(number) for number in range(5)))
    assert served == [0, 1, 2, 3, 4]
    assert rig.loads == ["chat"]


async def test_a_load_goes_on_when_the_one_who_asked_has_left() -> None:
    rig = Rig({"chat": 1}, 100, load_seconds=lambda name: 0.02)
    asking = asyncio.create_task(rig.use("chat"))
    await until_waiting(rig, "chat")
    asking.cancel()
    await asyncio.wait([asking])
    await rig.use("chat")
    assert rig.loads == ["chat"]


async def test_only_so_many_wait_for_loads() -> None:
    rig = Rig({"chat": 1, "code": 1}, 100, load_seconds=lambda name: 60.0, max_waiting=2)
    waiting = [asyncio.create_task(rig.use(name)) for name in ("chat", "code")]
    await until_waiting(rig, "code")
    with pytest.raises(Overloaded):
        await rig.use("chat")
    await rig.manager.close()
    await asyncio.wait(waiting)


async def test_memory_that_runs_out_is_tried_again_with_half_the_context(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig({"chat": 1, "other": 1}, 10_000, context_tokens=1_024)
    await rig.use("other")
    rig.failures["chat"] = [OutOfMemory("no more")]
    with caplog.at_level(logging.WARNING):
        async with rig.manager.lease("chat") as lease:
            assert lease.reduced_from_tokens == 1_024
            assert lease.backend.facts.context_tokens == 512
    assert "1024" in caplog.text
    assert "512" in caplog.text
    assert rig.held_bytes() == 513 + 1025
    await rig.use("other")
    assert rig.loads == ["other", "chat", "chat"]


async def test_a_load_that_fails_twice_leaves_nothing_and_the_next_request_tries_again() -> None:
    rig = Rig({"chat": 1, "other": 1}, 10_000, context_tokens=1_024)
    await rig.use("other")
    held = rig.held_bytes()
    rig.failures["chat"] = [OutOfMemory("no more"), OutOfMemory("still no more")]
    with pytest.raises(OutOfMemory, match="still"):
        await rig.use("chat")
    assert isinstance((await rig.manager.report_on("chat")).state, Failed)
    assert rig.held_bytes() == held
    assert rig.loaded() == {"other"}
    await rig.use("chat")


async def test_a_file_that_cannot_be_used_is_not_tried_again_with_less() -> None:
    rig = Rig({"chat": 1}, 10_000, context_tokens=1_024)
    rig.failures["chat"] = [ModelUnusable("cut off")]
    with pytest.raises(ModelUnusable, match="cut off"):
        await rig.use("chat")
    assert rig.loads == ["chat"]


async def test_a_dead_engine_takes_only_its_own_model_down() -> None:
    rig = Rig({"chat": 1, "code": 1}, 100)
    await rig.use("chat")
    await rig.use("code")
    rig.backend("chat").alive = False
    await rig.use("code")
    assert rig.loads == ["chat", "code"]
    await rig.use("chat")
    assert rig.loads == ["chat", "code", "chat"]
    assert rig.present["chat"][0].closed


async def test_a_model_in_use_is_unloaded_by_force_only() -> None:
    rig = Rig({"chat": 1}, 100)
    async with rig.manager.lease("chat"):
        with pytest.raises(ModelInUse, match="1 requests"):
            await rig.manager.unload("chat")
        report = await rig.manager.unload("chat", force=True)
        assert isinstance(report.state, Idle)
        assert rig.backend("chat").closed
    await rig.use("chat")
    assert rig.loads == ["chat", "chat"]


async def test_an_unload_by_force_gives_up_a_load() -> None:
    rig = Rig({"chat": 1}, 100, load_seconds=lambda name: 60.0)
    waiting = asyncio.create_task(rig.use("chat"))
    await until_waiting(rig, "chat")
    await asyncio.sleep(0)
    await rig.manager.unload("chat", force=True)
    with pytest.raises(EngineFailed):
        await waiting
    assert rig.held_bytes() == 0


async def test_who_comes_while_a_load_is_being_given_up_has_it_loaded_anew() -> None:
    seconds = iter([60.0])
    rig = Rig({"chat": 1}, 100, load_seconds=lambda name: next(seconds, 0.0))
    left = asyncio.create_task(rig.use("chat"))
    await until_waiting(rig, "chat")
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait([left])
    unloading = asyncio.create_task(rig.manager.unload("chat"))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await rig.use("chat")
        await unloading
    assert rig.loads == ["chat", "chat"]


async def test_a_keep_alive_that_ran_out_unloads_and_a_pin_keeps() -> None:
    rig = Rig(
        {"chat": 1, "code": 1},
        100,
        specs={name: {"keep_alive_seconds": 0.02} for name in ("chat", "code")},
    )
    await rig.use("code")
    await rig.manager.set_pin("code", True)
    await rig.use("chat", seconds=0.05)
    assert rig.loaded() == {"chat", "code"}
    async with asyncio.timeout(5):
        while rig.loaded() != {"code"}:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await rig.use("chat")


async def test_the_default_keep_alive_is_for_models_that_do_not_say() -> None:
    rig = Rig(
        {"chat": 1, "code": 1},
        100,
        specs={"chat": {"keep_alive_seconds": 0.0}},
        keep_alive_seconds=0.02,
    )
    await rig.use("chat")
    await rig.use("code")
    async with asyncio.timeout(5):
        while rig.loaded() != {"chat"}:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_asking_whether_the_engine_steps_is_no_use_of_the_model() -> None:
    rig = Rig({"chat": 1}, 100)
    await rig.use("chat")
    since = (await rig.manager.report_on("chat")).idle_since
    assert await rig.manager.responsive(1.0)
    assert (await rig.manager.report_on("chat")).idle_since == since
    rig.backend("chat").alive = False
    assert await rig.manager.responsive(1.0)
    assert rig.loads == ["chat", "chat"]


async def test_names_that_nobody_has_are_refused_and_load_nothing() -> None:
    rig = Rig({"chat": 1}, 100)
    with pytest.raises(UnknownModel):
        await rig.use("nothing")
    assert rig.loads == []


async def test_prediction_and_measurement_are_kept_and_the_ledger_has_the_measured(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage

    real = MemoryUsage((DeviceUsage(RAM, 70, 20, 30),), 5)
    rig = Rig({"chat": 100}, 1_000, measured=real)
    with caplog.at_level(logging.INFO):
        await rig.use("chat")
    report = await rig.manager.report_on("chat")
    assert report.loaded is not None
    assert report.loaded.predicted.total_bytes == 100
    assert report.loaded.measured == real
    assert report.device_bytes == {RAM: 125}
    assert "-16.7%" in caplog.text


async def test_a_gpu_without_memory_of_its_own_is_cleared_for_a_model_in_ram() -> None:
    from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage

    places = {"seen": ("MTL0", 60), "heard": (RAM, 50)}

    def placed(spec: ModelSpec, need: Need) -> Need:
        device, size = places[spec.name]
        usage = MemoryUsage((DeviceUsage(device, size, 0, 0),), 0)
        return replace(need, placed=replace(need.placed, predicted=usage))

    class OneMemory(FakeRoom):
        """RAM of 100 bytes, of which a GPU may use 80."""

        in_ram = ("MTL0",)

        async def measure(self, held: Mapping[str, int]) -> Mapping[str, int]:
            free = 100 - sum(held.values())
            return {RAM: free, "MTL0": min(free, 80 - held.get("MTL0", 0))}

    rig = Rig(dict.fromkeys(places, 0), 100, planned=placed, room=OneMemory(100))
    await rig.use("seen")
    await rig.use("heard")  # each would fit by itself, in GPU and RAM
    assert rig.loaded() == {"heard"}
    assert rig.ledger.held == {RAM: 50}


async def test_room_for_companions_stays_held_beside_what_was_measured() -> None:
    from localserve.planner.usage import RAM, Beside, DeviceUsage, MemoryUsage

    beside = (Beside("draft", (DeviceUsage(RAM, 10, 5, 5),), 3),)
    measured = MemoryUsage((DeviceUsage(RAM, 70, 20, 30),), 5)

    def with_draft(spec: ModelSpec, need: Need) -> Need:
        usage = replace(need.usage, beside=beside)
        return replace(need, placed=replace(need.placed, predicted=usage))

    rig = Rig({"chat": 100}, 1_000, planned=with_draft, measured=measured)
    await rig.use("chat")
    assert rig.held_before == [{RAM: 123}]
    assert rig.ledger.held == {RAM: 125 + 23}


def test_what_a_companion_really_takes_counts_in_place_of_what_was_planned() -> None:
    from localserve.manager.need import device_bytes, with_room_beside
    from localserve.planner.usage import RAM, Beside, DeviceUsage, MemoryUsage

    eyes = Beside("mmproj", (DeviceUsage(RAM, 7, 0, 0),))
    planned = MemoryUsage((), 0, beside=(eyes, Beside("draft", (DeviceUsage(RAM, 10, 5, 5),), 3)))
    measured = MemoryUsage((), 0, beside=(Beside("draft", (DeviceUsage(RAM, 10, 5, 9),), 3),))
    assert device_bytes(with_room_beside(measured, planned)) == {RAM: 27 + 7}


async def test_a_closed_manager_frees_all_and_loads_no_more() -> None:
    rig = Rig({"chat": 1, "code": 1}, 100)
    await rig.use("chat")
    await rig.use("code")
    await rig.manager.close()
    await rig.manager.close()
    assert rig.loaded() == set()
    with pytest.raises(ModelLoading):
        await rig.use("chat")


async def test_the_default_model_is_ready_when_it_is_loaded() -> None:
    rig = Rig({"chat": 1, "code": 1}, 100)
    await rig.use("code")
    assert not isinstance(rig.manager.state, Ready)
    await rig.manager.start()
    assert isinstance(rig.manager.state, Ready)


async def test_nothing_keeps_hold_of_a_backend_that_was_unloaded() -> None:
    rig = Rig({"chat": 1, "code": 1}, 100)
    for name in ("chat", "code"):
        await rig.use(name)
        weak = weakref.ref(rig.present.pop(name)[-1])
        await rig.manager.unload(name)
        gc.collect()
        assert weak() is None


async def test_a_load_is_bound_by_what_it_is_asked_for_until_the_model_is_unloaded() -> None:
    rig = Rig({"chat": 1, "code": 1}, 10_000, context_tokens=1_024)
    await rig.manager.load("code", Wanted(context_tokens=2_048, parallel=3))
    assert (rig.needs[-1].runtime.context_tokens, rig.needs[-1].placed.parallel) == (2_048, 3)
    await rig.use("code")
    await rig.manager.load("code")
    await rig.manager.load("code", Wanted(context_tokens=2_048))
    assert rig.loads == ["code"]
    await rig.manager.unload("code")
    await rig.use("code")
    assert rig.needs[-1].runtime.context_tokens == 1_024


async def test_an_idle_model_is_loaded_anew_as_asked_and_one_in_use_stays() -> None:
    rig = Rig({"chat": 1}, 10_000, context_tokens=1_024)
    await rig.use("chat")
    async with rig.manager.lease("chat"):
        with pytest.raises(ModelInUse, match="1 requests"):
            await rig.manager.load("chat", Wanted(context_tokens=512))
    assert rig.loads == ["chat"]
    await rig.manager.load("chat", Wanted(context_tokens=512))
    assert rig.loads == ["chat", "chat"]
    assert rig.needs[-1].runtime.context_tokens == 512
    assert rig.loaded() == {"chat"}


async def test_a_wish_that_cannot_be_fulfilled_leaves_the_loaded_model_as_it_is() -> None:
    rig = Rig({"chat": 10}, 1_000, context_tokens=500)
    await rig.use("chat")
    with pytest.raises(ModelTooLarge, match="2000 tokens"):
        await rig.manager.load("chat", Wanted(context_tokens=2_000))
    await rig.use("chat")
    assert rig.loads == ["chat"]


async def test_a_wish_that_failed_does_not_bind_the_next_load() -> None:
    rig = Rig({"chat": 10, "code": 10}, 1_000, context_tokens=500)
    with pytest.raises(ModelTooLarge):
        await rig.manager.load("code", Wanted(context_tokens=2_000))
    await rig.use("code")
    assert rig.needs[-1].runtime.context_tokens == 500


async def test_loads_with_other_wishes_wait_for_the_one_that_is_under_way() -> None:
    rig = Rig({"chat": 1}, 10_000, context_tokens=1_024, load_seconds=lambda name: 0.01)
    loading = rig.manager.start()
    await asyncio.gather(
        rig.manager.load("chat", Wanted(context_tokens=512)),
        rig.manager.load("chat", Wanted(context_tokens=512)),
    )
    assert loading.done()
    assert [need.runtime.context_tokens for need in rig.needs] == [1_024, 512]


async def test_a_smaller_context_than_asked_is_no_reason_to_load_again() -> None:
    rig = Rig({"chat": 1}, 10_000, context_tokens=1_024)
    rig.failures["chat"] = [OutOfMemory("no more")]
    for _ in range(2):
        report = await rig.manager.load("chat", Wanted(context_tokens=2_048))
        assert report.loaded is not None
        assert report.loaded.reduced_from_tokens == 2_048
    assert len(rig.loads) == 2


async def test_another_model_becomes_the_default_once_it_is_loaded() -> None:
    told: list[str] = []
    rig = Rig({"chat": 60, "large": 70}, 100, on_default=lambda spec: told.append(spec.name))
    await rig.use(None)
    manager = rig.manager
    async with manager.lease("chat"):
        becoming = asyncio.create_task(manager.make_default("large"))
        await asyncio.sleep(0.01)
        assert manager.is_default(rig.specs["large"])
        assert (manager.spec.name, told) == ("chat", [])  # it waits for memory
    await becoming
    await rig.use(None)
    assert (manager.spec.name, rig.loads, told) == ("large", ["chat", "large"], ["large"])
    assert [report.spec.name for report in manager.report()] == ["large", "chat"]
    assert not manager.is_default(rig.specs["chat"])


async def test_what_cannot_be_loaded_does_not_become_the_default() -> None:
    rig = Rig({"chat": 60, "huge": 200}, 100)
    with pytest.raises(ModelTooLarge):
        await rig.manager.make_default("huge")
    assert rig.manager.spec.name == "chat"
    assert not rig.manager.is_default(rig.specs["huge"])
    await rig.use(None)


async def test_memory_that_another_program_took_is_waited_for_and_the_wait_is_bounded() -> None:
    sizes = {"chat": 40 << 20, "code": 30 << 20}
    rig = Rig(sizes, 100 << 20, memory_wait_seconds=0.05)
    await rig.use("chat")
    await rig.manager.set_pin("chat", True)
    rig.room.others_bytes = 50 << 20  # between the plan and the load
    with pytest.raises(MemoryBusy, match="other programs hold the memory") as caught:
        await rig.use("code")
    assert "needs 30 MiB of memory, 20 MiB of memory too much" in caught.value.message
    await rig.use("chat")
    assert rig.loads == ["chat"]


async def test_a_load_begins_as_soon_as_another_program_gives_memory_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "LOOK_AGAIN_SECONDS", 0.005)
    rig = Rig({"chat": 40, "code": 30}, 100, memory_wait_seconds=60)
    async with rig.manager.lease("chat"):
        rig.room.others_bytes = 50
        waiting = asyncio.create_task(rig.use("code"))
        await asyncio.sleep(0.02)
        assert rig.loads == ["chat"]
        rig.room.others_bytes = 0
        await waiting
    assert rig.loaded() == {"chat", "code"}


async def test_two_servers_share_a_machine_and_neither_takes_from_the_other() -> None:
    first, second = Rig({"chat": 60}, 100), Rig({"code": 60}, 100, memory_wait_seconds=0.01)
    await first.use("chat")
    second.room.others_bytes = first.held_bytes()
    with pytest.raises(MemoryBusy):
        await second.use("code")
    await first.use("chat")
    await first.manager.unload("chat")
    second.room.others_bytes = first.held_bytes()
    await second.use("code")
    assert first.loads == ["chat"]


class FailingRoom(FakeRoom):
    """A machine of which the next `failures` measurements of what is used fail."""

    failures = 1

    async def used(self) -> Mapping[str, int]:
        if self.failures:
            self.failures -= 1
            raise OSError(24, "Too many open files")
        return {}


async def test_memory_that_cannot_be_measured_is_freed_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig({"chat": 60, "code": 30}, 100, room=FailingRoom(100))
    await rig.use("code")
    await rig.manager.unload("code")
    assert rig.loaded() == set()
    assert rig.held_bytes() == 0
    assert "Too many open files" in caplog.text
    await rig.use("code")
    assert rig.loads == ["code", "code"]


class BlindRoom(FakeRoom):
    """A machine of which nobody can see whether memory is back."""

    async def recover(self, before: Mapping[str, int], freed: Mapping[str, int]) -> None:
        raise OSError(24, "Too many open files")


async def test_memory_that_ran_out_unseen_is_tried_again_with_half_the_context() -> None:
    rig = Rig({"chat": 60}, 10_000, context_tokens=4096, room=BlindRoom(10_000))
    rig.failures["chat"] = [OutOfMemory("no memory")]
    await rig.use("chat")
    assert [need.runtime.context_tokens for need in rig.needs] == [4096, 2048]


async def test_a_wait_for_freed_memory_that_fails_ends_the_unload() -> None:
    rig = Rig({"chat": 60, "large": 70}, 100, room=BlindRoom(100))
    await rig.use("chat")
    await rig.use("large")
    assert rig.loaded() == {"large"}


class GatedRoom(FakeRoom):
    """A machine that gives the memory of its first unload back when `gate` is opened; `waits` are
    the unloads so far."""

    def __init__(self, total_bytes: int) -> None:
        super().__init__(total_bytes)
        self.gate = asyncio.Event()
        self.waits = 0

    async def recover(self, before: Mapping[str, int], freed: Mapping[str, int]) -> None:
        self.waits += 1
        if self.waits == 1:
            await self.gate.wait()

    async def until_waiting(self) -> None:
        async with asyncio.timeout(5):
            while not self.waits:  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_a_model_that_is_forgotten_while_another_makes_room_needs_no_unload() -> None:
    room = GatedRoom(100)
    rig = Rig({"chat": 1, "code": 45, "draw": 45, "large": 90}, 100, room=room)
    for name in ("code", "draw"):
        await rig.use(name)
    asking = asyncio.create_task(rig.use("large"))
    await room.until_waiting()
    (left,) = rig.loaded()
    await rig.manager.forget(left)
    room.gate.set()
    await asking
    assert rig.loaded() == {"large"}


async def test_a_load_that_fails_unexpectedly_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig({"chat": 60}, 100)
    rig.failures["chat"] = [ZeroDivisionError("of the driver")]
    with pytest.raises(EngineFailed, match="'chat' could not be loaded") as refused:
        await rig.use("chat")
    assert "of the driver" not in str(refused.value), "where files lie is nobody's business"
    assert "of the driver" in caplog.text
    assert isinstance((await rig.manager.report_on("chat")).state, Failed)
    assert rig.held_bytes() == 0
    await rig.use("chat")


async def test_who_unloads_a_model_that_is_being_unloaded_waits_for_its_memory_too() -> None:
    room = GatedRoom(100)
    rig = Rig({"chat": 60}, 100, room=room)
    await rig.use("chat")
    first = asyncio.create_task(rig.manager.unload("chat"))
    await room.until_waiting()
    second = asyncio.create_task(rig.manager.unload("chat"))
    await asyncio.sleep(0.02)
    assert not second.done()
    room.gate.set()
    await asyncio.gather(first, second)
    assert room.waits == 1
