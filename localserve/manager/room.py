"""How much memory models may still take here, measured, and whether an unload gave it back.

Lives on the event loop; what asks drivers runs in a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

import psutil

from localserve.config import Settings
from localserve.planner.hardware import Hardware, probe, refresh
from localserve.planner.machine import GPU_MARGIN_BYTES, ram_margin
from localserve.planner.readings import Readings
from localserve.planner.usage import RAM

log = logging.getLogger(__name__)

RECOVERY_SECONDS = 5.0
"""The longest that an unload is waited for: drivers give memory back a second or so late."""

RECOVERED_SHARE = 0.75
"""So much of what was freed must be seen to be free: other programs go on taking meanwhile."""

POLL_SECONDS = 0.1


class Room(Protocol):
    """Measures memory."""

    async def measure(self, held: Mapping[str, int]) -> Mapping[str, int]:
        """Bytes that models may take of each device besides `held`, which they hold already."""
        ...

    def most(self) -> Mapping[str, int]:
        """Bytes that models could take of each device if no other program held any, as of the last
        measurement."""
        ...

    @property
    def in_ram(self) -> Collection[str]:
        """The devices that have no memory of their own but RAM, as of the last measurement."""
        ...

    async def recover(self, before: Mapping[str, int], freed: Mapping[str, int]) -> None:
        """Wait, within bounds, until `freed` bytes per device are back; `before` was in use."""
        ...

    async def used(self) -> Mapping[str, int]:
        """Bytes in use now by device, for `recover`."""
        ...


class MachineRoom:
    """The memory of this machine, less what is left to other programs."""

    def __init__(
        self,
        settings: Settings,
        readings: Readings | None = None,
        resident_bytes: Callable[[], int] = lambda: int(psutil.Process().memory_info().rss),
    ) -> None:
        """Made before the first model is loaded: what the process holds then is not theirs."""
        self._settings = settings
        self._readings = readings
        self._resident_bytes = resident_bytes
        self._baseline_bytes = resident_bytes()
        self._hardware: Hardware | None = None

    async def measure(self, held: Mapping[str, int]) -> dict[str, int]:
        hardware = await self.look()
        memory = hardware.memory
        # What was allocated and never written to does not count as used yet, and will be.
        untouched = max(0, held.get(RAM, 0) - (self._resident_bytes() - self._baseline_bytes))
        free = memory.available_bytes - ram_margin(memory.usable_bytes) - untouched
        room = {RAM: max(0, free)}
        for gpu in hardware.gpus:
            free = gpu.free_bytes if gpu.unified else gpu.free_bytes - GPU_MARGIN_BYTES
            room[gpu.name] = max(0, min(free, room[RAM]) if gpu.unified else free)
        return room

    @property
    def in_ram(self) -> frozenset[str]:
        gpus = self._hardware.gpus if self._hardware is not None else ()
        return frozenset(gpu.name for gpu in gpus if gpu.unified)

    def most(self) -> dict[str, int]:
        assert self._hardware is not None, "nothing was measured yet"
        usable = self._hardware.memory.usable_bytes
        most = {RAM: max(0, usable - ram_margin(usable))}
        for gpu in self._hardware.gpus:
            own = max(0, gpu.total_bytes - GPU_MARGIN_BYTES)
            most[gpu.name] = min(gpu.total_bytes, most[RAM]) if gpu.unified else own
        return most

    async def used(self) -> dict[str, int]:
        """Of GPUs without memory of their own it is RAM's: what they may use at most hides it."""
        hardware = await self.look()
        memory = hardware.memory
        gpus = {
            gpu.name: memory.usable_bytes - memory.available_bytes
            if gpu.unified
            else gpu.total_bytes - gpu.free_bytes
            for gpu in hardware.gpus
        }
        return gpus | {RAM: self._resident_bytes()}

    async def recover(self, before: Mapping[str, int], freed: Mapping[str, int]) -> None:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while True:
            await asyncio.to_thread(_give_back)
            now = await self.used()
            back = all(
                before.get(device, 0) - now.get(device, 0) >= RECOVERED_SHARE * size
                for device, size in freed.items()
            )
            if back or time.monotonic() > deadline:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def look(self) -> Hardware:
        """The machine as it is now."""
        before = self._hardware
        if before is None:
            self._hardware = await asyncio.to_thread(probe, self._settings, self._readings)
        else:
            self._hardware = await asyncio.to_thread(refresh, before, self._readings)
            _tell_of_lost(before, self._hardware)
        return self._hardware


@contextlib.contextmanager
def measuring(name: str) -> Iterator[None]:
    """What only looks at memory that the model `name` frees: where it fails, that is logged."""
    try:
        yield
    except Exception:
        log.warning("the memory of %s could not be measured", name, exc_info=True)


def _tell_of_lost(before: Hardware, now: Hardware) -> None:
    left = {gpu.name for gpu in now.gpus}
    for gpu in before.gpus:
        if gpu.name not in left:
            log.error(
                "%s (%s, %.1f GiB) is gone: no model is loaded onto it any more. Look at its driver"
                " (`localserve hardware`), then start the server again.",
                gpu.name,
                gpu.description,
                gpu.total_bytes / 2**30,
            )


def _give_back() -> None:
    """Return freed memory to the system: glibc keeps small pieces for later."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
