"""llama.cpp's devices joined with what the drivers say of the same cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localserve.planner.graphics import GraphicsCard
from localserve.planner.memory import Memory
from localserve.planner.nvml import DriverGpu, GpuProcess, Nvml

GPU_KINDS = ("gpu", "igpu")

CUDA_UNIFIED = "GGML_CUDA_ENABLE_UNIFIED_MEMORY"


@dataclass(frozen=True, slots=True)
class Device:
    """A device that llama.cpp can compute on.

    `kind` is cpu, gpu, igpu, accel or other. `free_bytes` is what a model may still take there, as
    llama.cpp counts it: its own context on a GPU is already paid. `unified` says that the memory is
    the host's: it must not be counted twice, and `free_bytes` is then at most what the host has
    available. Metal's `total_bytes` is its recommended working set. `used_by_default` says whether
    llama.cpp puts layers there if nobody says where. `driver_free_bytes` is what the driver
    counts, for all programs together; `processes` are all programs that the driver lists.
    """

    name: str
    description: str
    backend: str
    kind: str
    free_bytes: int
    total_bytes: int
    unified: bool
    used_by_default: bool
    pci_bus_id: str | None
    driver_free_bytes: int | None
    processes: tuple[GpuProcess, ...]

    @property
    def is_gpu(self) -> bool:
        return self.kind in GPU_KINDS


@dataclass(frozen=True, slots=True)
class ListedDevice:
    """A device as `localserve.llama.devices` prints it."""

    name: str
    description: str
    backend: str
    kind: str
    free_bytes: int
    total_bytes: int
    device_id: str | None


def parse_listed(document: Any) -> list[ListedDevice]:
    """The list of devices in the child's document. Raises: KeyError, TypeError, ValueError."""
    return [
        ListedDevice(
            name=str(one["name"]),
            description=str(one["description"]),
            backend=str(one["backend"]),
            kind=str(one["kind"]),
            free_bytes=int(one["free_bytes"]),
            total_bytes=int(one["total_bytes"]),
            device_id=None if one["device_id"] is None else str(one["device_id"]),
        )
        for one in document["devices"]
    ]


def join_devices(
    listed: Sequence[ListedDevice],
    nvml: Nvml,
    cards: Sequence[GraphicsCard],
    memory: Memory,
    environment: Mapping[str, str],
) -> tuple[Device, ...]:
    """llama.cpp's devices with what else is known of each, in its order."""
    found = [_device(one, nvml, cards, memory, environment) for one in listed]
    chosen = _default_names(found)
    return tuple(dataclasses.replace(one, used_by_default=one.name in chosen) for one in found)


def refresh_device(
    device: Device,
    listed_free_bytes: int | None,
    nvml: Nvml,
    cards: Sequence[GraphicsCard],
    memory: Memory,
    environment: Mapping[str, str],
) -> Device:
    """The device with what is free on it now.

    `listed_free_bytes` is what llama.cpp says now, if it was asked. Otherwise the amount changes
    by what the driver says has changed; a GPU of which it tells no more has nothing free.
    """
    driver_free, processes = _told_by_driver(device.pci_bus_id, nvml, cards, environment)
    free_bytes = device.free_bytes
    if device.kind == "cpu":
        free_bytes = memory.available_bytes
    elif device.unified:
        free_bytes = min(device.total_bytes, memory.available_bytes)
        driver_free = None
    elif listed_free_bytes is not None:
        free_bytes = listed_free_bytes
    elif device.driver_free_bytes is not None:
        change = (driver_free or 0) - device.driver_free_bytes
        free_bytes = min(max(0, free_bytes + change), device.total_bytes)
    return dataclasses.replace(
        device, free_bytes=free_bytes, driver_free_bytes=driver_free, processes=processes
    )


def gone(device: Device) -> Device:
    """A device that is there no more."""
    return dataclasses.replace(
        device,
        free_bytes=0,
        total_bytes=0,
        used_by_default=False,
        driver_free_bytes=None,
        processes=(),
    )


def _device(
    listed: ListedDevice,
    nvml: Nvml,
    cards: Sequence[GraphicsCard],
    memory: Memory,
    environment: Mapping[str, str],
) -> Device:
    free_bytes, total_bytes = listed.free_bytes, listed.total_bytes
    unified = listed.kind == "igpu" or (
        listed.kind == "gpu" and _shares_memory(listed.backend, cards, environment)
    )
    if listed.kind == "cpu":
        free_bytes, total_bytes = memory.available_bytes, memory.usable_bytes
    elif unified:
        free_bytes = min(free_bytes, total_bytes, memory.available_bytes)
    driver_free, processes = _told_by_driver(listed.device_id, nvml, cards, environment)
    return Device(
        name=listed.name,
        description=listed.description,
        backend=listed.backend,
        kind=listed.kind,
        free_bytes=free_bytes,
        total_bytes=total_bytes,
        unified=unified,
        used_by_default=False,
        pci_bus_id=listed.device_id,
        driver_free_bytes=None if unified else driver_free,
        processes=processes,
    )


def _shares_memory(
    backend: str, cards: Sequence[GraphicsCard], environment: Mapping[str, str]
) -> bool:
    """Apple's GPUs call themselves discrete (on Intel Macs they are), and with a variable set,
    CUDA gives the host's free memory as its own. Source: ggml-cuda.cu, its get_memory."""
    if backend.upper().startswith(("MTL", "METAL")):
        return any(card.vendor == "Apple" for card in cards)
    return backend == "CUDA" and CUDA_UNIFIED in environment


def _told_by_driver(
    bus_id: str | None, nvml: Nvml, cards: Sequence[GraphicsCard], environment: Mapping[str, str]
) -> tuple[int | None, tuple[GpuProcess, ...]]:
    if bus_id is None:
        return None, ()
    bus_id = bus_id.partition("-")[0]  # llama.cpp numbers virtual devices: 0000:c1:00.0-v1
    gpus = [gpu for gpu in nvml.gpus if gpu.pci_bus_id == bus_id]
    processes = tuple(process for gpu in gpus for process in gpu.processes)
    if gpus:
        gpu = _visible(gpus, environment.get("CUDA_VISIBLE_DEVICES", ""))
        return (gpu.free_bytes if gpu else None), processes
    free = [card.free_bytes for card in cards if card.pci_bus_id == bus_id]
    return (free[0] if free else None), processes


def _visible(gpus: Sequence[DriverGpu], visible: str) -> DriverGpu | None:
    """The GPU, or the one of its MIG instances that CUDA shows; None where that is not clear."""
    instances = [gpu for gpu in gpus if gpu.instance_of is not None]
    if not instances:
        return gpus[0]
    named = [gpu for gpu in instances if gpu.uuid in visible.split(",")]
    candidates = named or instances
    return candidates[0] if len(candidates) == 1 else None


def _default_names(devices: Sequence[Device]) -> set[str]:
    """Where llama.cpp puts layers by default: servers of its RPC, each discrete GPU once, and
    integrated ones only without those. Source: llama.cpp, llama_prepare_model_devices."""
    remote = [one for one in devices if one.kind == "gpu" and one.backend == "RPC"]
    discrete: dict[str, Device] = {}
    for one in devices:
        if one.kind == "gpu" and one.backend != "RPC":
            discrete.setdefault(one.pci_bus_id or one.name, one)
    integrated = [one for one in devices if one.kind == "igpu"]
    alike = [one for one in integrated if one.backend == integrated[0].backend]
    return {one.name for one in [*remote, *(list(discrete.values()) or alike)]}
