"""A stand-in for the module `pynvml`: the same functions, answers from a description."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NOT_FOUND = 6


class FakeError(Exception):
    """Like pynvml's errors, which have the driver's number as `value`."""

    def __init__(self, text: str, value: int) -> None:
        super().__init__(text)
        self.value = value


NOT_SUPPORTED = FakeError("Not Supported", NVML_ERROR_NOT_SUPPORTED)
NO_PERMISSION = FakeError("Insufficient Permissions", 4)
LOST = FakeError("GPU is lost", 15)


@dataclass
class FakeGpu:
    """One GPU; an exception in place of a value is raised when it is asked for."""

    name: Any = "NVIDIA GeForce RTX 4090"
    uuid: Any = "GPU-1"
    bus_id: Any = "00000000:01:00.0"
    memory: Any = (24, 3, 21)
    computing: Any = ()
    drawing: Any = ()
    mig: Any = NOT_SUPPORTED
    instances: list[FakeGpu | Exception] = field(default_factory=list)


@dataclass
class FakeNvml:
    gpus: list[FakeGpu | Exception] = field(default_factory=list)
    initialised: Any = None
    driver: Any = "580.95.05"
    cuda: Any = 13000

    NVML_ERROR_NOT_SUPPORTED = NVML_ERROR_NOT_SUPPORTED
    NVML_ERROR_NOT_FOUND = NVML_ERROR_NOT_FOUND
    NVML_DEVICE_MIG_ENABLE = 1

    def nvmlInit(self) -> None:  # noqa: N802
        _told(self.initialised)

    def nvmlSystemGetDriverVersion(self) -> Any:  # noqa: N802
        return _told(self.driver)

    def nvmlSystemGetCudaDriverVersion(self) -> Any:  # noqa: N802
        return _told(self.cuda)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        return _told(self.gpus[index])

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return _told(gpu.name)

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return _told(gpu.uuid)

    def nvmlDeviceGetPciInfo(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return SimpleNamespace(busId=_told(gpu.bus_id))

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> Any:  # noqa: N802
        total, used, free = _told(gpu.memory)
        return SimpleNamespace(total=total, used=used, free=free)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return _processes(gpu.computing)

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return _processes(gpu.drawing)

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> Any:  # noqa: N802
        return _told(gpu.mig)

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:  # noqa: N802
        return len(gpu.instances)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> Any:  # noqa: N802
        return _told(gpu.instances[index])


def _processes(listed: Any) -> Any:
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in _told(listed)]


def _told(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value
