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

from localserve.backends.loading import LoadOptions
from localserve.backends.placement import Placed, place_model
from localserve.catalog.draft import find_draft
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
        companions = _projectors(spec)
        draft: Path | None = None
        named = options.draft or spec.draft
        if named is not None and options.settings is not None and wanted.guess_tokens != 0:
            draft, companion = _draft(spec, named, facts, self._registry(), options.settings)
            companions += (companion,)
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
        return Need(replace(placed, predicted=self._count(spec, path, placed), draft=draft))

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
    companions = _projectors(spec)
    if spec.draft is None or settings is None:
        return companions
    try:
        return (*companions, _draft(spec, spec.draft, facts, registry, settings)[1])
    except ModelUnusable as error:
        log.warning("%s", error.message)
        return companions


def _projectors(spec: ModelSpec) -> tuple[Companion, ...]:
    """The one that the entry names; if it is not here, or is something else, no room is kept
    for it."""
    if spec.projector is None:
        return ()
    try:
        return (projector_of(read_local(spec.projector).facts),)
    except LocalserveError as error:
        log.warning("%s: no room is kept beside it: %s", spec.name, error.message)
        return ()


def _draft(
    spec: ModelSpec, named: str, facts: GgufFacts, registry: Registry, settings: Settings
) -> tuple[Path, Companion]:
    """The model that is to guess for the one of that entry.

    Raises: ModelUnusable, where it is not here or cannot.
    """
    try:
        path = find_draft(named, registry, settings)
        return path, draft_for(read_local(path).facts, facts)
    except LocalserveError as error:
        hint = f"{error.hint or ''} Or serve it without a draft.".strip()
        raise ModelUnusable(f"The draft of {spec.name!r}: {error.message}", hint=hint) from None


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
