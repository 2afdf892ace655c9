"""What the user should know about this machine: above all, a graphics card that lies idle.

Each notice says what is wrong, and where there is one, the exact command that mends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from localserve.planner.devices import Device
from localserve.planner.graphics import GraphicsCard
from localserve.planner.mending import (
    CUDA_PAGE,
    missing_toolkit,
    prebuilt_command,
    rebuild_command,
    toolkit_command,
)
from localserve.planner.nvml import Nvml
from localserve.planner.processor import Processor
from localserve.planner.readings import Readings

BACKENDS = {
    "NVIDIA": ("CUDA", "Vulkan"),
    "AMD": ("ROCm", "Vulkan"),
    "Intel": ("SYCL", "Vulkan"),
    "Apple": ("MTL", "Metal"),
}
"""ggml's names of the backends that drive each vendor's cards."""

HIDING = {
    "CUDA": ("CUDA_VISIBLE_DEVICES",),
    "ROCm": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
    "Vulkan": ("GGML_VK_VISIBLE_DEVICES",),
    "SYCL": ("ONEAPI_DEVICE_SELECTOR",),
}
"""Variables that hide cards from a backend."""

CONTAINER_ARGUMENTS = {
    ("docker", "NVIDIA"): "docker run --gpus all ...",
    ("docker", "AMD"): "docker run --device /dev/kfd --device /dev/dri ...",
    ("docker", "Intel"): "docker run --device /dev/dri ...",
    ("podman", "NVIDIA"): "podman run --device nvidia.com/gpu=all ...",
    ("podman", "AMD"): "podman run --device /dev/kfd --device /dev/dri ...",
    ("podman", "Intel"): "podman run --device /dev/dri ...",
}
"""How a container gets a card."""

NO_DEVICE = ("", "-1", "NoDevFiles", "none", "void")
"""Values of such variables that hide all cards."""

WIDE_FEATURES = ("AVX2", "AVX512", "FMA", "F16C", "DOTPROD", "I8MM")
"""Features whose absence in a build costs much speed."""


@dataclass(frozen=True, slots=True)
class Notice:
    """`level` is warning (something lies idle or is broken) or info. `command` mends it;
    `prebuilt` does too, without compiling, where there is such a package for this Python."""

    level: str
    message: str
    command: str | None = None
    prebuilt: str | None = None


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """The build of llama.cpp that is installed: its binding's version, the backends it was
    compiled with, the processor features it uses; `problem` says why it does not answer."""

    version: str | None
    backends: tuple[str, ...]
    features: tuple[str, ...]
    problem: str | None


def find_notices(
    readings: Readings,
    container: str | None,
    llama_cpp: LlamaCpp,
    nvml: Nvml,
    processor: Processor,
    cards: Sequence[GraphicsCard],
    devices: Sequence[Device],
) -> tuple[Notice, ...]:
    """All that is to be said, the most important first."""
    if llama_cpp.problem is not None:
        message = (
            f"llama.cpp does not answer: {llama_cpp.problem}. Nothing can be served; if the driver"
            " of a graphics card is at fault, a build for the CPU does without it"
        )
        return (Notice("warning", message, rebuild_command(readings, "cpu")),)
    idle = [
        card
        for card in cards
        if not any(_is_of_card(device, card) for device in devices if device.is_gpu)
    ]
    one_of_a_kind = {(card.vendor, card.name, card.driver): card for card in idle}
    found = [
        _about_idle(readings, container, llama_cpp, nvml, card, devices)
        for card in one_of_a_kind.values()
    ]
    has_nvidia = any(card.vendor == "NVIDIA" and card not in idle for card in cards)
    if has_nvidia and nvml.problems:
        message = f"NVIDIA's driver does not tell everything: {'; '.join(nvml.problems)}"
        found.append(Notice("info", message))
    found += _about_processor(readings, llama_cpp, processor)
    return tuple(sorted(found, key=lambda notice: notice.level != "warning"))


def _is_of_card(device: Device, card: GraphicsCard) -> bool:
    """By the bus if both tell it, else by the vendor: SYCL, OpenCL and Metal do not tell."""
    if device.pci_bus_id is not None and card.pci_bus_id is not None:
        return device.pci_bus_id.partition("-")[0] == card.pci_bus_id
    text = f"{device.description} {device.backend}".lower()
    return card.vendor.lower() in text or device.backend.startswith(BACKENDS[card.vendor][0])


def _about_idle(
    readings: Readings,
    container: str | None,
    llama_cpp: LlamaCpp,
    nvml: Nvml,
    card: GraphicsCard,
    devices: Sequence[Device],
) -> Notice:
    """Why llama.cpp does not use a card, from the driver upwards."""
    level = "info" if card.integrated and card.vendor != "Apple" else "warning"
    idle = f"{card.name} is in this machine, and llama.cpp cannot use it"
    if (problem := _missing_access(readings, container, nvml, card)) is not None:
        return Notice(level, f"{idle}: {problem[0]}", problem[1])
    if (problem := _missing_driver(nvml, card)) is not None:
        return Notice(level, f"{idle}: {problem[0]}", problem[1])
    compiled = [name for name in BACKENDS[card.vendor] if name in llama_cpp.backends]
    if compiled and (variable := _hiding(readings, compiled[0], devices)) is not None:
        hides = f"{variable}={readings.environment[variable]!r} hides it"
        return Notice("info", f"{idle}: {hides}", f"unset {variable}")
    if compiled:
        return Notice(level, f"{idle}: {_why_unseen(compiled[0], nvml)}")
    backend = _backend_to_compile(readings, card)
    built_for = ", ".join(llama_cpp.backends) or "nothing"
    message = f"{idle}: this build is for {built_for} only"
    command: str | None = rebuild_command(readings, backend)
    if missing := missing_toolkit(readings, backend):
        first = toolkit_command(readings, backend)
        message += f". Compiling it for {backend} needs {missing} first"
        if first is None:
            message += f" ({CUDA_PAGE})" if backend == "cuda" else ""
        else:
            command = f"{first} && {command}"
    return Notice(level, message, command, prebuilt_command(readings, backend, nvml.cuda_version))


def _missing_access(
    readings: Readings, container: str | None, nvml: Nvml, card: GraphicsCard
) -> tuple[str, str | None] | None:
    """Whether the card's device files are kept from this process."""
    if readings.system != "Linux":
        return None
    file = "/dev/nvidiactl" if card.vendor == "NVIDIA" else "/dev/dri"
    if container not in (None, "wsl") and not nvml.gpus and not readings.exists(file):
        arguments = CONTAINER_ARGUMENTS.get((container, card.vendor))
        return "the container was started without it", arguments
    if card.vendor == "AMD" and readings.exists("/dev/kfd") and not readings.accessible("/dev/kfd"):
        problem = "this user may not use /dev/kfd (after the command, log in again)"
        return problem, "sudo usermod -aG render,video $USER"
    return None


def _missing_driver(nvml: Nvml, card: GraphicsCard) -> tuple[str, str | None] | None:
    if card.vendor != "NVIDIA" or nvml.gpus:
        return None
    said = "; ".join(nvml.problems)
    if card.driver in (None, "nouveau"):
        return f"NVIDIA's driver is not loaded ({said or f'the card has {card.driver}'})", None
    if "mismatch" in said:
        return f"NVIDIA's driver was updated and the old one still runs ({said})", "sudo reboot"
    return (f"NVIDIA's driver does not answer ({said})", None) if said else None


def _hiding(readings: Readings, backend: str, devices: Sequence[Device]) -> str | None:
    """The variable that hides a card from a backend: it names none, or others that are seen."""
    others_seen = any(device.backend == backend for device in devices)
    for variable in HIDING.get(backend, ()):
        value = readings.environment.get(variable)
        if value is not None and (others_seen or value in NO_DEVICE):
            return variable
    return None


def _why_unseen(backend: str, nvml: Nvml) -> str:
    """Why a build that has the backend sees no device."""
    driver = ""
    if backend == "CUDA" and nvml.driver_version:
        supports = f", which supports CUDA {nvml.cuda_version}" if nvml.cuda_version else ""
        driver = f" (driver {nvml.driver_version}{supports}; it may be too old for this build)"
    return f"this build has {backend}, which finds no such device{driver}"


def _backend_to_compile(readings: Readings, card: GraphicsCard) -> str:
    if card.vendor == "NVIDIA":
        return "cuda"
    if card.vendor == "Apple":
        return "metal"
    has_rocm = readings.which("hipcc") or readings.exists("/opt/rocm/bin/hipcc")
    return "hip" if card.vendor == "AMD" and has_rocm else "vulkan"


def _about_processor(
    readings: Readings, llama_cpp: LlamaCpp, processor: Processor
) -> Iterator[Notice]:
    """Prebuilt libraries are made for old processors."""
    unused = [
        name
        for name in WIDE_FEATURES
        if name in processor.features and name not in llama_cpp.features
    ]
    if unused and llama_cpp.features:
        message = (
            f"The processor has {', '.join(unused)}, and llama.cpp was compiled without: it"
            " computes slower than it could"
        )
        yield Notice("warning", message, rebuild_command(readings, "cpu"))
