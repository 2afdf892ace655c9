"""A machine made of recordings: files in a folder, and answers instead of programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localserve.planner.readings import Amounts, Answer, Readings

GIB = 1 << 30

CPU = {
    "name": "CPU",
    "description": "Some CPU",
    "backend": "CPU",
    "kind": "cpu",
    "free_bytes": 64 * GIB,
    "total_bytes": 64 * GIB,
    "device_id": None,
}

NO_NVML = {
    "driver_version": None,
    "cuda_version": None,
    "gpus": [],
    "problems": ["NVML: NVML Shared Library Not Found"],
}


def listed_gpu(
    name: str = "CUDA0",
    *,
    backend: str = "CUDA",
    kind: str = "gpu",
    bus_id: str | None = "0000:01:00.0",
    free_bytes: int = 20 * GIB,
    total_bytes: int = 24 * GIB,
    description: str = "NVIDIA GeForce RTX 4090",
) -> dict[str, Any]:
    """A GPU as `localserve.llama.devices` prints it."""
    return {
        "name": name,
        "description": description,
        "backend": backend,
        "kind": kind,
        "free_bytes": free_bytes,
        "total_bytes": total_bytes,
        "device_id": bus_id,
    }


def nvml_gpu(
    *,
    bus_id: str = "0000:01:00.0",
    name: str = "NVIDIA GeForce RTX 4090",
    uuid: str = "GPU-1",
    instance_of: str | None = None,
    free_bytes: int | None = 21 * GIB,
    processes: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A GPU as `localserve.planner.nvml` prints it."""
    return {
        "name": name,
        "uuid": uuid,
        "instance_of": instance_of,
        "pci_bus_id": bus_id,
        "total_bytes": 24 * GIB,
        "free_bytes": free_bytes,
        "processes": processes or [],
    }


class RecordedReadings(Readings):
    """Linux on x86 with 8 cores, 64 GiB, a CPU build of llama.cpp and no GPU, until told
    otherwise. What is asked of children is answered by module; `asked` remembers the calls."""

    system = "Linux"
    architecture = "x86_64"
    environment: Mapping[str, str] = {}

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.environment = {}
        self.tools: set[str] = set()
        self.modules = {"pip"}
        self.commands: dict[tuple[str, ...], str] = {}
        self.refused: set[str] = set()
        self.processors_allowed: frozenset[int] | None = None
        self.cores_counted, self.processors_counted = 8, 16
        self.busy = 0.0
        self.memory_amounts = Amounts(64 * GIB, 48 * GIB)
        self.swap_amounts = Amounts(8 * GIB, 6 * GIB)
        self.disks: dict[Path, Amounts] = {Path("/"): Amounts(500 * GIB, 100 * GIB)}
        self.backends = ["CPU"]
        self.features = ["AVX2", "FMA", "F16C"]
        self.listed: list[dict[str, Any]] = [CPU]
        self.nvml: dict[str, Any] = NO_NVML
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, ...]] = []

    def write(self, path: str, text: str) -> None:
        """Make a file of the recorded machine."""
        place = self._at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link of the recorded machine."""
        place = self._at(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def card(self, bus_id: str, vendor: str, driver: str | None, **files: str) -> None:
        """Put a graphics card on the bus."""
        folder = f"/sys/bus/pci/devices/{bus_id}"
        for name, text in {"class": "0x030000", "vendor": vendor, **files}.items():
            self.write(f"{folder}/{name}", text)
        if driver is not None:
            self.link(f"{folder}/driver", f"../../drivers/{driver}")

    def accessible(self, path: str) -> bool:
        return path not in self.refused

    def which(self, tool: str) -> str | None:
        return f"/usr/bin/{tool}" if tool in self.tools else None

    def has_module(self, name: str) -> bool:
        return name in self.modules

    def command(self, *command: str, timeout_seconds: float = 10.0) -> str | None:
        return self.commands.get(command)

    def memory(self) -> Amounts:
        return self.memory_amounts

    def swap(self) -> Amounts:
        return self.swap_amounts

    def disk(self, path: Path) -> Amounts | None:
        return self.disks.get(path)

    def busy_share(self) -> float:
        return self.busy

    def processors(self) -> int:
        return self.processors_counted

    def cores(self) -> int:
        return self.cores_counted

    def allowed_processors(self) -> frozenset[int] | None:
        return self.processors_allowed

    def ask(self, module: str, *arguments: str, timeout_seconds: float) -> Answer:
        self.asked.append((module, *arguments))
        if module in self.answers:
            return self.answers[module]
        if module == "localserve.planner.nvml":
            return Answer(self.nvml)
        assert module == "localserve.llama.devices", module
        return Answer(
            {
                "version": "0.3.36",
                "backends": self.backends,
                "features": self.features,
                "devices": self.listed,
            }
        )
