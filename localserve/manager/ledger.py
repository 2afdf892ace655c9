"""Which model holds how many bytes of which device, and how much there is. Pure.

A GPU may have no memory of its own: what lies there is written down once, under its name, and is
charged to RAM as well whenever sizes are compared. Its own capacity is the most of RAM that it can
use (Metal's working set).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from localserve.planner.usage import RAM


class Ledger:
    """Bytes per device, held by name.

    `limits` bound what all models together may hold of a device, whatever is free.
    """

    def __init__(self, limits: Mapping[str, int] | None = None) -> None:
        self._limits = dict(limits or {})
        self._held: dict[str, dict[str, int]] = {}
        self._capacity: dict[str, int] = {}
        self._in_ram: frozenset[str] = frozenset()

    @property
    def held(self) -> Mapping[str, int]:
        """What all models together hold, by device."""
        total: Counter[str] = Counter()
        for sizes in self._held.values():
            total.update(sizes)
        return dict(total)

    @property
    def capacity(self) -> Mapping[str, int]:
        """The most that all models together may hold, by device, as of the last measurement."""
        return dict(self._capacity)

    @property
    def in_ram(self) -> frozenset[str]:
        """The devices whose memory is RAM."""
        return self._in_ram

    def charge(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """What sizes by device take of each memory: RAM bears what lies on devices without any."""
        borne = sum(sizes.get(device, 0) for device in self._in_ram)
        return {**sizes, RAM: sizes.get(RAM, 0) + borne} if borne else dict(sizes)

    def held_by(self, name: str) -> Mapping[str, int]:
        """What one model holds; nothing, if it is not loaded."""
        return dict(self._held.get(name, {}))

    def measure(self, room: Mapping[str, int], in_ram: Collection[str] = ()) -> None:
        """Take over what was measured: `room` is what models may take of each device besides what
        is held already, `in_ram` are those whose memory is RAM."""
        self._in_ram = frozenset(in_ram)
        held = self.charge(self.held)
        capacity = {device: held.get(device, 0) + size for device, size in room.items()}
        limits = self._limits.items()
        self._capacity = capacity | {
            device: min(limit, capacity.get(device, limit)) for device, limit in limits
        }

    def hold(self, name: str, sizes: Mapping[str, int]) -> None:
        """Write down what a model takes, in place of what stood there."""
        self._held[name] = dict(sizes)

    def release(self, name: str) -> None:
        """Forget what a model took. Harmless when it took nothing."""
        self._held.pop(name, None)

    def missing(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """What `sizes` has too little room for, by device; empty where it fits."""
        return self.lacking(sizes, self.held)

    def lacking(self, sizes: Mapping[str, int], held: Mapping[str, int]) -> dict[str, int]:
        """As `missing`, if `held` were held."""
        sizes, held = self.charge(sizes), self.charge(held)
        return {
            device: lack
            for device, size in sizes.items()
            if size > 0 and (lack := size + held.get(device, 0) - self._capacity.get(device, 0)) > 0
        }

    def held_by_all(self, names: Iterable[str]) -> dict[str, int]:
        """What these models together hold, by device."""
        total: Counter[str] = Counter()
        for name in names:
            total.update(self._held.get(name, {}))
        return dict(total)
