"""Memory that a loaded model takes, by device and by what it is for. Any thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

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


CompanionKind = Literal["mmproj", "draft"]
"""A projector, which sees or hears for a model, or a small model, which guesses for it."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What a companion of the model holds, the output of a draft included in `output_bytes`."""

    kind: CompanionKind
    devices: tuple[DeviceUsage, ...]
    output_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return sum(device.total_bytes for device in self.devices) + self.output_bytes

    def on(self, name: str) -> int:
        """All that it holds on the device of that name; the output lies in RAM."""
        there = sum(one.total_bytes for one in self.devices if one.device == name)
        return there + (self.output_bytes if name == RAM else 0)


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """What all devices hold. `output_bytes`, in RAM, and `beside` lie outside the totals, as do
    `checkpoint_bytes`, the most that checkpoints of sequences come to take there."""

    devices: tuple[DeviceUsage, ...]
    output_bytes: int
    checkpoint_bytes: int = 0
    beside: tuple[Beside, ...] = ()

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

    def beside_on(self, name: str) -> int:
        """What companions hold on the device of that name."""
        return sum(one.on(name) for one in self.beside)

    def beside_bytes(self, kind: CompanionKind) -> int:
        """What companions of that kind hold on all devices."""
        return sum(one.total_bytes for one in self.beside if one.kind == kind)

    def as_document(self) -> dict[str, Any]:
        """For JSON; `from_document` reads it back."""
        return asdict(self)


def from_document(document: Mapping[str, Any]) -> MemoryUsage:
    """The usage that `MemoryUsage.as_document` wrote."""
    beside = tuple(
        Beside(one["kind"], _devices(one), one["output_bytes"]) for one in document["beside"]
    )
    room = document.get("checkpoint_bytes", 0)
    return MemoryUsage(_devices(document), document["output_bytes"], room, beside)


def _devices(document: Mapping[str, Any]) -> tuple[DeviceUsage, ...]:
    return tuple(DeviceUsage(**device) for device in document["devices"])
