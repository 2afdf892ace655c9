"""What NVIDIA's driver says of its GPUs and of who uses them, through NVML (`pynvml`).

Run as `python -m localserve.planner.nvml` it prints the answer as JSON: the library is the
driver's, and a broken driver may hang. Whatever cannot be had is a line of text in `problems`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A program that has memory on a GPU. `name` is empty and `used_bytes` None where hidden."""

    pid: int
    name: str
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class DriverGpu:
    """One GPU, or one MIG instance of it (then `instance_of` is the GPU's uuid).

    The programs on an instance are listed with the GPU. None where the driver does not tell.
    """

    name: str
    uuid: str
    instance_of: str | None
    pci_bus_id: str | None
    total_bytes: int | None
    free_bytes: int | None
    processes: tuple[GpuProcess, ...]


@dataclass(frozen=True, slots=True)
class Nvml:
    """All that NVML says. Without a working NVIDIA driver, `gpus` is empty and `problems` says
    why."""

    driver_version: str | None
    cuda_version: str | None
    gpus: tuple[DriverGpu, ...]
    problems: tuple[str, ...]


NameOf = Callable[[int], str]


def read_nvml(library: Any, name_of: NameOf) -> Nvml:
    """Ask NVML for everything. `library` is the module `pynvml`; `name_of` a process's name."""
    problems: list[str] = []
    asking = _Asking(library, problems)
    try:
        library.nvmlInit()
    except Exception as error:  # an old library lacks functions, a broken one fails anyhow
        return Nvml(None, None, (), (f"NVML: {_words(error)}",))
    version = asking(library.nvmlSystemGetDriverVersion)
    cuda = asking(library.nvmlSystemGetCudaDriverVersion)
    gpus: list[DriverGpu] = []
    for index in range(asking(library.nvmlDeviceGetCount) or 0):
        handle = asking(library.nvmlDeviceGetHandleByIndex, index)
        if handle is not None:
            gpus += _gpus(asking, handle, name_of)
    return Nvml(
        driver_version=_text(version) or None,
        cuda_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
        gpus=tuple(gpus),
        problems=tuple(dict.fromkeys(problems)),
    )


class _Asking:
    """Calls NVML; what fails is None, and a problem unless the GPU just has no such thing."""

    def __init__(self, library: Any, problems: list[str]) -> None:
        self.library = library
        self._problems = problems

    def __call__(self, ask: Callable[..., Any], *arguments: object) -> Any:
        try:
            return ask(*arguments)
        except Exception as error:
            absent = [
                getattr(self.library, name, None)
                for name in ("NVML_ERROR_NOT_SUPPORTED", "NVML_ERROR_NOT_FOUND")
            ]
            if getattr(error, "value", "") not in absent:
                name = getattr(ask, "__name__", "NVML")
                self._problems.append(f"{name}: {_words(error)}")
            return None


def _gpus(asking: _Asking, handle: Any, name_of: NameOf) -> Iterator[DriverGpu]:
    """A GPU and its MIG instances."""
    nvml = asking.library
    pci = asking(nvml.nvmlDeviceGetPciInfo, handle)
    whole = _gpu(asking, handle, pci_bus_id(_text(pci.busId)) if pci else None)
    yield dataclasses.replace(whole, processes=tuple(_processes(asking, handle, name_of)))
    mode = asking(nvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
        return
    for index in range(asking(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        instance = asking(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if instance is not None:
            part = _gpu(asking, instance, whole.pci_bus_id)
            yield dataclasses.replace(part, instance_of=whole.uuid)


def _gpu(asking: _Asking, handle: Any, bus_id: str | None) -> DriverGpu:
    nvml = asking.library
    memory = asking(nvml.nvmlDeviceGetMemoryInfo, handle)
    return DriverGpu(
        name=_text(asking(nvml.nvmlDeviceGetName, handle)),
        uuid=_text(asking(nvml.nvmlDeviceGetUUID, handle)),
        instance_of=None,
        pci_bus_id=bus_id,
        total_bytes=int(memory.total) if memory else None,
        free_bytes=int(memory.free) if memory else None,
        processes=(),
    )


def _processes(asking: _Asking, handle: Any, name_of: NameOf) -> list[GpuProcess]:
    """Each program once, the largest first: one that computes and draws is in both lists."""
    used: dict[int, int | None] = {}
    for name in ("Compute", "Graphics"):
        ask = getattr(asking.library, f"nvmlDeviceGet{name}RunningProcesses")
        for process in asking(ask, handle) or ():
            earlier = used.get(process.pid)
            sizes = [size for size in (process.usedGpuMemory, earlier) if size is not None]
            used[process.pid] = max(sizes, default=None)
    found = [GpuProcess(pid, name_of(pid), size) for pid, size in used.items()]
    return sorted(found, key=lambda process: (-(process.used_bytes or 0), process.pid))


def pci_bus_id(text: str) -> str:
    """A PCI bus id as llama.cpp writes it: '00000000:C1:00.0' and '0000:C1:00.0' alike."""
    domain, _, rest = text.lower().partition(":")
    try:
        return f"{int(domain, 16):04x}:{rest}"
    except ValueError:
        return text.lower()


def _text(value: object) -> str:
    """Old versions of the library return bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if value is not None else ""


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def process_name(pid: int) -> str:
    """A program's name; empty where the system does not tell this user.

    Programs choose their names, control characters and all: those are left out.
    """
    try:
        name = psutil.Process(pid).name()
    except (psutil.Error, OSError):
        return ""
    return "".join(filter(str.isprintable, name))


def from_document(document: Any) -> Nvml:
    """What the child printed. Raises: TypeError, KeyError."""
    gpus = [
        DriverGpu(**{**gpu, "processes": tuple(GpuProcess(**one) for one in gpu["processes"])})
        for gpu in document["gpus"]
    ]
    return Nvml(**{**document, "gpus": tuple(gpus), "problems": tuple(document["problems"])})


def without_names(nvml: Nvml) -> Nvml:
    """The same with all processes nameless."""
    gpus = []
    for gpu in nvml.gpus:
        nameless = tuple(dataclasses.replace(process, name="") for process in gpu.processes)
        gpus.append(dataclasses.replace(gpu, processes=nameless))
    return dataclasses.replace(nvml, gpus=tuple(gpus))


def main() -> None:
    import pynvml

    json.dump(dataclasses.asdict(read_nvml(pynvml, process_name)), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # without unloading the driver's library, which may hang


if __name__ == "__main__":
    main()
