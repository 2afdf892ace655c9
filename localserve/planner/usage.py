"""Memory that a loaded model takes, by device and by what it is for. Any thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

RAM = "CPU"
"""The device whose memory is the machine's own, as llama.cpp names it."""


@dataclass(frozen=True, slots=True)
class DeviceUsage:
    """What one device holds. `cache_bytes` is the KV cache or the recurrent state."""

    device: str
    weights_bytes: int
    cache_bytes: int
    compute_bytes: int

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.cache_bytes + self.compute_bytes


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """What all devices hold. `output_bytes`, in RAM, lies outside the totals, as do
    `checkpoint_bytes`, the most that checkpoints of sequences come to take there."""

    devices: tuple[DeviceUsage, ...]
    output_bytes: int
    checkpoint_bytes: int = 0

    @property
    def weights_bytes(self) -> int:
        return sum(device.weights_bytes for device in self.devices)

    @property
    def cache_bytes(self) -> int:
        return sum(device.cache_bytes for device in self.devices)

    @property
    def compute_bytes(self) -> int:
        return sum(device.compute_bytes for device in self.devices)

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.cache_bytes + self.compute_bytes

    def of(self, name: str) -> DeviceUsage:
        """What the device of that name holds; nothing, if it is not among them."""
        found = (device for device in self.devices if device.device == name)
        return next(found, DeviceUsage(name, 0, 0, 0))

    def as_document(self) -> dict[str, Any]:
        """For JSON; `from_document` reads it back."""
        return asdict(self)


def from_document(document: Mapping[str, Any]) -> MemoryUsage:
    """The usage that `MemoryUsage.as_document` wrote."""
    devices = tuple(DeviceUsage(**device) for device in document["devices"])
    return MemoryUsage(devices, document["output_bytes"], document.get("checkpoint_bytes", 0))
