"""When a model may be loaded, and which others go for it. Lives on the event loop.

One model is loaded at a time, so that what is measured is what the ledger says. Who must not go is
known to the models themselves, who goes first to `eviction.py`; how one is unloaded is
`ModelManager`'s to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from localserve.errors import MemoryBusy
from localserve.manager.eviction import Candidate, choose_victims
from localserve.manager.explain import memory_busy, too_large
from localserve.manager.ledger import Ledger
from localserve.manager.model import ManagedModel
from localserve.manager.need import Estimate, Need
from localserve.manager.room import Room
from localserve.planner.plan import Wanted

LOOK_AGAIN_SECONDS = 1.0
"""How often memory is measured while a load waits for it: other programs end, too."""


class Admission:
    """Lets one model after another be loaded, each when there is memory for it."""

    def __init__(
        self,
        *,
        estimate: Estimate,
        room: Room,
        ledger: Ledger,
        models: Callable[[], Mapping[str, ManagedModel]],
        promised_seconds: Callable[[ManagedModel], float],
        unload: Callable[[ManagedModel, str], Awaitable[None]],
        wait_seconds: float,
    ) -> None:
        """`models` are all that are known, by key; `promised_seconds` is how long an idle one was
        to stay. `unload` frees one and says why. A load waits at most `wait_seconds` for memory
        that running answers hold."""
        self._estimate = estimate
        self._room = room
        self._ledger = ledger
        self._models = models
        self._promised_seconds = promised_seconds
        self._unload = unload
        self._wait_seconds = wait_seconds
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def admitted(self, model: ManagedModel, need: Need) -> AsyncIterator[None]:
        """Wait until there is memory for `model`, which is its own as long as this lasts.

        Raises: MemoryBusy, when answers hold it for too long; ModelTooLarge.
        """
        deadline = time.monotonic() + self._wait_seconds
        while True:
            changed = self._changed
            async with self._turn:
                if await self._make_room(model, need):
                    yield
                    return
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._memory_busy(model, need)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(left, LOOK_AGAIN_SECONDS))

    async def check_size(self, model: ManagedModel, need: Need, asked: Wanted) -> None:
        """Raises: ModelTooLarge, where the model as `asked` cannot fit beside what is pinned."""
        async with self._turn:
            await self._measure()
            await self._check_size(model, need, asked)

    def tell_change(self) -> None:
        """Memory was freed, or a model may go now: whoever waits for memory looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _make_room(self, model: ManagedModel, need: Need) -> bool:
        """Whether the model fits now, once idle ones are unloaded for it.

        Raises: ModelTooLarge, where it would not even if nothing else held memory.
        """
        wanted = need.device_bytes
        while True:
            await self._measure()
            missing = self._ledger.missing(wanted)
            if not missing:
                return True
            await self._check_size(model, need, model.asked)
            victims = choose_victims(self._candidates(model), missing)
            if victims is None:
                return False
            for key in victims:
                await self._unload_idle(key, f"to make room for {model.spec.name}")

    async def _measure(self) -> None:
        """See how much models may take now."""
        room = await self._room.measure(self._ledger.held)
        self._ledger.measure(room, most=self._room.most(), in_ram=self._room.in_ram)

    async def _check_size(self, model: ManagedModel, need: Need, asked: Wanted) -> None:
        pinned = [one for one in self._models().values() if one.pinned and one is not model]
        held = self._ledger.held_by_all(one.key for one in pinned)
        if self._ledger.lacking(need.device_bytes, held):
            raise await too_large(model.spec, asked, need, pinned, self._ledger, self._estimate)

    def _candidates(self, wanted: ManagedModel) -> list[Candidate]:
        """The models that may go."""
        return [
            Candidate(
                name=model.key,
                device_bytes=self._ledger.charge(self._ledger.held_by(model.key)),
                reload_seconds=model.loaded.seconds if model.loaded is not None else 0.0,
                idle_seconds=model.idle_seconds,
                promised=model.idle_seconds < self._promised_seconds(model),
            )
            for model in self._models().values()
            if model is not wanted and model.may_go
        ]

    async def _unload_idle(self, key: str, why: str) -> None:
        """Unload what still may go: since then it may have been asked for, or forgotten."""
        model = self._models().get(key)
        if model is not None and model.may_go:
            await self._unload(model, why)

    def _memory_busy(self, model: ManagedModel, need: Need) -> MemoryBusy:
        models = self._models().values()
        busy = [one for one in models if one.in_use and one.backend is not None]
        return memory_busy(model.spec, need, busy, self._ledger, self._wait_seconds)
