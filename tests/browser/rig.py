"""Servers for the browser: a machine as a recording, a disk, a hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from localserve.backends.base import Backend
from localserve.backends.placement import Placed
from localserve.catalog.registry import shipped_registry
from localserve.catalog.spec import ModelSpec
from localserve.config import Settings, read_settings
from localserve.manager import ModelManager, Progress
from localserve.manager.library import DiskLibrary
from localserve.manager.need import Need
from localserve.manager.offer import DiskOffer
from localserve.planner.bandwidth import Bandwidth, Throughput
from localserve.planner.hardware import Hardware, probe
from localserve.planner.plan import Wanted
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, MemoryUsage
from localserve.testing import FakeBackend, FakeOffer, FakeRoom, fake_estimate, fake_spec
from tests.planner.recorded import GIB, RecordedReadings

RATES = {
    "CPU": {"Q4_K": Throughput(40e9, 400e9), "F16": Throughput(50e9, 300e9)},
    "CUDA0": {"Q4_K": Throughput(600e9, 40e12), "F16": Throughput(700e9, 30e12)},
}
BANDWIDTH = Bandwidth(
    ram_bytes_per_second=50e9,
    devices={"CPU": 50e9, "CUDA0": 700e9},
    throughput=RATES,
    steps={},
    threads=8,
    problems=(),
    measured_at=1.0,
    cached=True,
)


def hardware_of(folder: Path) -> Hardware:
    """48 GiB of RAM, 12 of them in use by other programs, and a GPU of 12 GiB with 10 free."""
    settings = read_settings(environ={"LOCALSERVE_HOME": str(folder / "home")})
    made = probe(settings, RecordedReadings(folder / "machine"))
    memory = replace(made.memory, usable_bytes=48 * GIB, available_bytes=36 * GIB)
    cpu = made.devices[0]
    gpu = replace(
        cpu,
        name="CUDA0",
        kind="gpu",
        description="NVIDIA GeForce RTX 3060",
        free_bytes=10 * GIB,
        total_bytes=12 * GIB,
        used_by_default=True,
    )
    return replace(made, memory=memory, devices=(cpu, gpu))


def arguments_of(hardware: Hardware, **more: Any) -> dict[str, Any]:
    """What lets an app see that machine."""

    async def look() -> Hardware:
        return hardware

    return {"arguments": {"look": look, **more}}


class TwoPlaces(FakeRoom):
    """RAM, and a GPU with as much room."""

    async def measure(self, held: Mapping[str, int]) -> Mapping[str, int]:
        return {name: self.total_bytes - held.get(name, 0) for name in (RAM, "CUDA0")}

    def most(self) -> Mapping[str, int]:
        return {RAM: self.total_bytes, "CUDA0": self.total_bytes}


def loaded_manager(backend: FakeBackend, predicted: MemoryUsage, room_bytes: int) -> ModelManager:
    """Loads `backend`, of which so much was predicted."""
    spec = fake_spec(backend.facts.name)

    async def estimate(spec: ModelSpec, wanted: Wanted) -> Need:
        return Need(Placed(Runtime(4096, 8), predicted, "CUDA", 8))

    async def load(spec: ModelSpec, need: Need, progress: Progress) -> Backend:
        return backend

    room = TwoPlaces(room_bytes)
    return ModelManager(spec, load, offer=FakeOffer([spec]), estimate=estimate, room=room)


def disk_settings(folder: Path, hub_url: str) -> Settings:
    """A disk without any model, and that hub."""
    return read_settings(
        {},
        {
            "LOCALSERVE_HOME": str(folder / "home"),
            "HF_HOME": str(folder / "hf"),
            "HF_ENDPOINT": hub_url,
            "LLAMA_CACHE": str(folder / "llama"),
            "OLLAMA_MODELS": str(folder / "ollama"),
            "LOCALSERVE_LM_STUDIO_MODELS_DIR": str(folder / "lm-studio"),
        },
    )


def disk_server(settings: Settings) -> tuple[ModelManager, DiskLibrary]:
    """What is on the disk can be loaded, if by fake backends; the rest can be fetched."""
    registry = shipped_registry()
    offer = DiskOffer(settings, registry)

    async def load(spec: ModelSpec, need: Need, progress: Progress) -> Backend:
        progress(0.5)
        return FakeBackend(name=spec.name)

    manager = ModelManager(
        next(iter(registry)),
        load,
        offer=offer,
        estimate=fake_estimate({}),
        room=FakeRoom(36 * GIB),
    )
    return manager, DiskLibrary(settings, offer)
