"""What a model needs: run as it is planned, by the count of llama.cpp itself in a child process.

The plan is made as if no other model were loaded: the manager sees to it that there is room. Lives
on the event loop; the asking runs in a worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from localserve.backends.local import LoadOptions
from localserve.backends.placement import Placed, place_model
from localserve.catalog.draft import read_draft_here
from localserve.catalog.headers import read_local
from localserve.catalog.registry import Registry
from localserve.catalog.spec import LocalFile, ModelSpec, RemoteEngine
from localserve.config import Settings
from localserve.errors import LocalserveError, ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.gguf.loadable import check_loadable
from localserve.manager.need import Need
from localserve.planner.companions import Companion, draft_for, projector_of
from localserve.planner.devices import Device
from localserve.planner.dry_run import Refused, dry_run
from localserve.planner.hardware import Hardware
from localserve.planner.plan import Wanted, wanted_by
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage

log = logging.getLogger(__name__)

MOST_KEPT = 64

FileState = tuple[Path, int, int]
"""A file, its bytes and when it was changed."""


class FileEstimate:
    """Implements `Estimate` over the model's own file; keeps what it was told.

    `look` measures the machine; `held` is what loaded models have of it, by device. `registry` has
    the models that drafts are named after.
    """

    def __init__(
        self,
        options: Callable[[ModelSpec], LoadOptions],
        look: Callable[[], Awaitable[Hardware]],
        held: Callable[[], Mapping[str, int]],
        registry: Callable[[], Registry] = Registry,
    ) -> None:
        self._options = options
        self._look = look
        self._held = held
        self._registry = registry
        self._kept: dict[tuple[FileState, Runtime], MemoryUsage] = {}

    async def __call__(self, spec: ModelSpec, wanted: Wanted) -> Need:
        if isinstance(spec.source, RemoteEngine):
            return nothing_needed()
        hardware = as_if_alone(await self._look(), self._held())
        return await asyncio.to_thread(self._estimate, spec, wanted, hardware)

    def _estimate(self, spec: ModelSpec, wanted: Wanted, hardware: Hardware) -> Need:
        if not isinstance(spec.source, LocalFile):
            raise ModelUnusable(f"The model {spec.name!r} is not on this disk.")
        path = spec.source.path
        options = self._options(spec)
        wanted = wanted.over(options.wanted).over(wanted_by(spec))
        facts = read_local(path).facts
        check_loadable(facts)
        companions = companions_of(spec, facts, self._registry(), options.settings)
        wanted = replace(wanted, companions=companions)
        placed = place_model(
            path,
            facts,
            spec.name,
            wanted,
            options.settings,
            lambda: bool(hardware.gpus),
            lambda settings: hardware,
        )
        return Need(replace(placed, predicted=self._count(spec, path, placed)))

    def _count(self, spec: ModelSpec, path: Path, placed: Placed) -> MemoryUsage:
        """llama.cpp's own count; what was planned with, where it does not tell."""
        status = path.stat()
        key = ((path, status.st_size, status.st_mtime_ns), placed.runtime)
        if key not in self._kept:
            answer = dry_run(path, [placed.runtime])[0]
            if isinstance(answer, Refused):
                if answer.crashed:
                    raise ModelUnusable(
                        f"{spec.name!r} is not loaded, for it would end the server:"
                        f" {answer.reason}.",
                        hint="Use another conversion of the model.",
                    )
                log.warning("%s: its memory is estimated: %s", spec.name, answer.reason)
                return placed.predicted
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = answer
        planned = placed.predicted
        return replace(
            self._kept[key],
            checkpoint_bytes=planned.checkpoint_bytes,
            beside=planned.beside,
        )


def companions_of(
    spec: ModelSpec, facts: GgufFacts, registry: Registry, settings: Settings | None
) -> tuple[Companion, ...]:
    """What the entry names to lie beside the model; one that is not here, or is something else,
    keeps no room."""
    found = []
    try:
        if spec.projector is not None:
            found.append(projector_of(read_local(spec.projector).facts))
        if spec.draft is not None and settings is not None:
            own = read_draft_here(spec.draft, registry, settings)
            found.append(draft_for(own, facts))
    except LocalserveError as error:
        log.warning("%s: no room is kept beside it: %s", spec.name, error.message)
    return tuple(found)


def nothing_needed() -> Need:
    """What a model of another machine takes here."""
    usage = MemoryUsage((DeviceUsage(RAM, 0, 0, 0),), 0)
    return Need(Placed(Runtime(0, 0), usage, "remote", 0))


def as_if_alone(hardware: Hardware, held: Mapping[str, int]) -> Hardware:
    """The machine with what loaded models hold counted as free; of GPUs without memory of their own
    in RAM, which bounds them."""
    in_ram = sum(held.get(gpu.name, 0) for gpu in hardware.gpus if gpu.unified)
    available_bytes = hardware.memory.available_bytes + held.get(RAM, 0) + in_ram
    memory = replace(hardware.memory, available_bytes=available_bytes)

    def free_bytes(device: Device) -> int:
        if device.unified:
            return min(device.total_bytes, available_bytes)
        return min(device.total_bytes, device.free_bytes + held.get(device.name, 0))

    devices = tuple(replace(device, free_bytes=free_bytes(device)) for device in hardware.devices)
    return replace(hardware, memory=memory, devices=devices)
