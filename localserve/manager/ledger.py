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
        self._most: dict[str, int] = {}
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
    def most(self) -> Mapping[str, int]:
        """The most that all models together could hold if no other program held any memory."""
        return dict(self._most)

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

    def measure(
        self,
        room: Mapping[str, int],
        *,
        most: Mapping[str, int] | None = None,
        in_ram: Collection[str] = (),
    ) -> None:
        """Take over what was measured: `room` is what models may take of each device besides what
        is held already, `most` what they could if no other program held any (None: no more);
        `in_ram` are those whose memory is RAM."""
        self._in_ram = frozenset(in_ram)
        held = self.charge(self.held)
        capacity = {device: held.get(device, 0) + size for device, size in room.items()}
        self._capacity = self._limited(capacity)
        self._most = self._limited(capacity if most is None else {**capacity, **most})

    def _limited(self, sizes: Mapping[str, int]) -> dict[str, int]:
        limits = self._limits.items()
        return dict(sizes) | {
            device: min(limit, sizes.get(device, limit)) for device, limit in limits
        }

    def hold(self, name: str, sizes: Mapping[str, int]) -> None:
        """Write down what a model takes, in place of what stood there."""
        self._held[name] = dict(sizes)

    def release(self, name: str) -> None:
        """Forget what a model took. Harmless when it took nothing."""
        self._held.pop(name, None)

    def missing(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """What `sizes` has too little room for now, by device; empty where it fits."""
        return self._lacking(sizes, self.held, self._capacity)

    def lacking(self, sizes: Mapping[str, int], held: Mapping[str, int]) -> dict[str, int]:
        """What `sizes` would have too little room for if `held` were all that anybody held."""
        return self._lacking(sizes, held, self._most)

    def held_by_all(self, names: Iterable[str]) -> dict[str, int]:
        """What these models together hold, by device."""
        total: Counter[str] = Counter()
        for name in names:
            total.update(self._held.get(name, {}))
        return dict(total)

    def _lacking(
        self, sizes: Mapping[str, int], held: Mapping[str, int], capacity: Mapping[str, int]
    ) -> dict[str, int]:
        sizes, held = self.charge(sizes), self.charge(held)
        return {
            device: lack
            for device, size in sizes.items()
            if size > 0 and (lack := size + held.get(device, 0) - capacity.get(device, 0)) > 0
        }
