"""Each device's memory for `/admin/models`: what models hold, what other programs have, what is
free.

The machine is measured beside the event loop, while somebody looks: an answer has the last
measurement and waits for none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

import psutil

from localserve.manager.fits import Look
from localserve.manager.ledger import Ledger
from localserve.planner.hardware import Hardware
from localserve.planner.usage import RAM

log = logging.getLogger(__name__)

MEASURED_FOR_SECONDS: Final = 3.0
"""How long a measurement is not repeated."""

REST: Final = 20
"""Nor for so many times what it took: where no driver tells, llama.cpp has to be started."""


def resident_bytes() -> int:
    """What this process has of RAM now."""
    return int(psutil.Process().memory_info().rss)


class MachineMemory:
    """`look` measures the machine; without it only what models hold is told."""

    def __init__(
        self,
        look: Look | None = None,
        own_bytes: Callable[[], int] = resident_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._own_bytes = own_bytes
        self._hardware: Hardware | None = None
        self._clock = clock
        self._next_at = float("-inf")
        self._measuring: asyncio.Task[None] | None = None

    def rows(self, ledger: Ledger) -> list[dict[str, Any]]:
        """A row for each device, in bytes; null for what is not known (yet).

        `server_bytes` is what this process takes besides its models. What models hold and did not
        touch yet counts as theirs, not as free. Of a device without memory of its own
        (`part_of`) RAM's row tells who has the rest.
        """
        self._measure_soon()
        held, capacity, measured = ledger.charge(ledger.held), ledger.capacity, self._measured()
        return [
            {
                "device": device,
                "held_bytes": held.get(device, 0),
                "capacity_bytes": capacity.get(device),
                "part_of": RAM if device in ledger.in_ram else None,
            }
            | self._shares(device, held.get(device, 0), measured.get(device))
            for device in sorted({*held, *capacity})
        ]

    def _shares(self, device: str, held: int, sizes: tuple[int, int] | None) -> dict[str, Any]:
        """Who has how much of a device's total and used bytes."""
        if sizes is None:
            return dict.fromkeys(("total_bytes", "server_bytes", "other_bytes", "free_bytes"))
        total, used = sizes
        own = self._own_bytes() if device == RAM else held
        server, other = max(0, own - held), max(0, used - own)
        return {
            "total_bytes": total,
            "server_bytes": server,
            "other_bytes": other,
            "free_bytes": max(0, total - held - server - other),
        }

    def _measured(self) -> dict[str, tuple[int, int]]:
        """Total and used bytes by device."""
        if self._hardware is None:
            return {}
        memory = self._hardware.memory
        sizes = {
            gpu.name: (gpu.total_bytes, gpu.total_bytes - gpu.free_bytes)
            for gpu in self._hardware.gpus
            if not gpu.unified
        }
        return sizes | {RAM: (memory.usable_bytes, memory.usable_bytes - memory.available_bytes)}

    def _measure_soon(self) -> None:
        early = self._clock() < self._next_at
        if self._look is None or early or self._measuring is not None:
            return
        self._measuring = asyncio.create_task(self._measure(self._look), name="memory")

    async def _measure(self, look: Look) -> None:
        began = self._clock()
        try:
            self._hardware = await look()
        except Exception:
            log.exception("the machine's memory could not be measured")
        finally:
            now = self._clock()
            self._next_at = now + max(MEASURED_FOR_SECONDS, REST * (now - began))
            self._measuring = None
