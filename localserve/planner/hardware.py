"""What this machine has for models: memory, processor, disk, and the devices llama.cpp can use.

`probe` reads everything, `refresh` only what changes from moment to moment. Nothing raises: what is
broken or missing is a notice. Each driver is asked in a child process, which takes a second or so:
not for the event loop's thread.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from localserve.config import Settings
from localserve.planner.devices import (
    Device,
    ListedDevice,
    gone,
    join_devices,
    parse_listed,
    refresh_device,
)
from localserve.planner.graphics import GraphicsCard, graphics_cards, refresh_card
from localserve.planner.memory import Memory, read_memory
from localserve.planner.notices import LlamaCpp, Notice, find_notices
from localserve.planner.nvml import Nvml, from_document, without_names
from localserve.planner.processor import Processor, our_names, read_processor
from localserve.planner.readings import Answer, Readings

DEVICES_MODULE = "localserve.llama.devices"
NVML_MODULE = "localserve.planner.nvml"

DEVICES_SECONDS = 60.0
"""Time for llama.cpp to list its devices: a driver may compile its kernels the first time."""

NVML_SECONDS = 20.0

INITIAL_PID_NAMESPACE = "pid:[4026531836]"
"""The namespace that all others are within. Source: Linux, PROC_PID_INIT_INO."""

CONTAINER_MARKS = {
    "/.dockerenv": "docker",
    "/run/.containerenv": "podman",
    "/proc/sys/fs/binfmt_misc/WSLInterop": "wsl",
}


@dataclass(frozen=True, slots=True)
class Disk:
    """Where downloaded models go. Nones where the file system does not tell."""

    path: str
    free_bytes: int | None
    total_bytes: int | None


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine as it is now.

    `container` is docker, podman, kubernetes, lxc, wsl ... or None. `cards` are the graphics cards
    that are present, `devices` what llama.cpp can use (the CPU among them). `model_ram_bytes` is
    what models may take of RAM together, by the setting of that name (None: what is free).
    """

    system: str
    architecture: str
    container: str | None
    llama_cpp: LlamaCpp
    nvml: Nvml
    processor: Processor
    memory: Memory
    disk: Disk
    notices: tuple[Notice, ...]
    cards: tuple[GraphicsCard, ...]
    devices: tuple[Device, ...]
    model_ram_bytes: int | None = None

    @property
    def gpus(self) -> tuple[Device, ...]:
        """The GPUs that llama.cpp uses by default, in its order."""
        return tuple(one for one in self.devices if one.is_gpu and one.used_by_default)

    @property
    def free_bytes(self) -> int:
        """What models may take now on all devices together; the host's memory counts once."""
        separate = sum(gpu.free_bytes for gpu in self.gpus if not gpu.unified)
        return self.within_bound(self.memory.available_bytes) + separate

    def within_bound(self, ram_bytes: int) -> int:
        """So much of RAM as models may take."""
        return ram_bytes if self.model_ram_bytes is None else min(ram_bytes, self.model_ram_bytes)


def probe(settings: Settings, readings: Readings | None = None) -> Hardware:
    """Read everything. Takes about a second; a hanging driver delays it by a minute at most."""
    readings = readings or Readings()
    with ThreadPoolExecutor(1) as other:
        nvml_asked = other.submit(_ask_nvml, readings)
        answer = readings.ask(DEVICES_MODULE, timeout_seconds=DEVICES_SECONDS)
        nvml = nvml_asked.result()
    llama_cpp, listed = _llama_cpp(answer)
    container = find_container(readings)
    memory = read_memory(readings)
    cards = tuple(graphics_cards(readings, nvml))
    devices = join_devices(listed, nvml, cards, memory, readings.environment)
    described = next((one.description for one in devices if one.kind == "cpu"), "")
    processor = read_processor(readings, described, llama_cpp.features)
    return Hardware(
        system=readings.system,
        architecture=readings.architecture,
        container=container,
        llama_cpp=llama_cpp,
        nvml=nvml,
        processor=processor,
        memory=memory,
        disk=_disk(readings, settings.models_dir),
        notices=find_notices(readings, container, llama_cpp, nvml, processor, cards, devices),
        cards=cards,
        devices=devices,
        model_ram_bytes=settings.model_ram_bytes,
    )


def refresh(hardware: Hardware, readings: Readings | None = None) -> Hardware:
    """Read the free amounts again, without starting llama.cpp where a driver tells them.

    A GPU's `free_bytes` changes by what its driver says has changed. A device whose driver does
    not tell, or no more, is asked through llama.cpp again; if that fails, its old amount stays. One
    that llama.cpp does not list any more is no GPU to use and has no memory.
    """
    readings = readings or Readings()
    memory = read_memory(readings)
    nvml, silent = hardware.nvml, False
    if nvml.gpus:
        answered = _ask_nvml(readings)
        told = {gpu.pci_bus_id for gpu in answered.gpus}
        silent = any(gpu.pci_bus_id not in told for gpu in nvml.gpus)
        nvml = answered if answered.gpus else nvml
    cards = tuple(refresh_card(readings, card) for card in hardware.cards)
    untold = any(gpu.driver_free_bytes is None and not gpu.unified for gpu in hardware.gpus)
    listed = _listed_free(readings) if silent or untold else {}
    devices = [
        gone(device)
        if listed and device.name not in listed
        else refresh_device(
            device, listed.get(device.name), nvml, cards, memory, readings.environment
        )
        for device in hardware.devices
    ]
    disk = _disk(readings, Path(hardware.disk.path))
    return dataclasses.replace(
        hardware, memory=memory, nvml=nvml, cards=cards, devices=tuple(devices), disk=disk
    )


def _listed_free(readings: Readings) -> dict[str, int]:
    """llama.cpp's free bytes by device; empty if it does not answer."""
    _, listed = _llama_cpp(readings.ask(DEVICES_MODULE, timeout_seconds=DEVICES_SECONDS))
    return {device.name: device.free_bytes for device in listed}


def _llama_cpp(answer: Answer) -> tuple[LlamaCpp, list[ListedDevice]]:
    """The build and its devices; none if there is a problem."""
    if answer.problem is not None:
        return LlamaCpp(None, (), (), answer.problem), []
    try:
        document = answer.document
        listed = parse_listed(document)
        llama_cpp = LlamaCpp(
            version=str(document["version"]),
            backends=tuple(map(str, document["backends"])),
            features=our_names(document["features"]),
            problem=None if listed else "it lists no devices",
        )
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{DEVICES_MODULE} answered something else: {error!r}"
        return LlamaCpp(None, (), (), problem), []
    return llama_cpp, listed


def _ask_nvml(readings: Readings) -> Nvml:
    answer = readings.ask(NVML_MODULE, timeout_seconds=NVML_SECONDS)
    problem = answer.problem
    if problem is None:
        try:
            nvml = from_document(answer.document)
            return without_names(nvml) if _sees_own_processes_only(readings) else nvml
        except (KeyError, TypeError) as error:
            problem = f"{NVML_MODULE} answered something else: {error!r}"
    return Nvml(None, None, (), (problem,))


def _sees_own_processes_only(readings: Readings) -> bool:
    """Whether process ids mean something else here than to the driver: then a name found by id
    would be that of another program."""
    namespace = readings.link_name("/proc/self/ns/pid")
    return namespace not in (None, INITIAL_PID_NAMESPACE)


def find_container(readings: Readings) -> str | None:
    if readings.system != "Linux":
        return None
    if "KUBERNETES_SERVICE_HOST" in readings.environment:
        return "kubernetes"
    for path, name in CONTAINER_MARKS.items():
        if readings.exists(path):
            return name
    if named := readings.text("/run/systemd/container"):
        return named
    first = readings.text("/proc/1/cgroup") or ""
    return next((name for name in ("kubepods", "docker", "lxc") if f"/{name}" in first), None)


def _disk(readings: Readings, folder: Path) -> Disk:
    """The folder may not exist yet: then its first ancestor that does is asked."""
    for place in (folder, *folder.parents):
        if (amounts := readings.disk(place)) is not None:
            return Disk(str(folder), amounts.free_bytes, amounts.total_bytes)
    return Disk(str(folder), None, None)
