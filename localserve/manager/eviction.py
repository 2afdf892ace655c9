"""Which idle models make room for another one. Pure.

A model costs what loading it again would take, the less the longer nobody has asked for it. The
cheapest set that frees enough on every device goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST_IDLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A loaded model that nobody uses. `promised` says that its keep-alive has not run out."""

    name: str
    device_bytes: Mapping[str, int]
    reload_seconds: float
    idle_seconds: float
    promised: bool = False

    @property
    def cost(self) -> float:
        """What it is worth to keep: the time to load it again, over the time it has been idle."""
        return self.reload_seconds / max(self.idle_seconds, LEAST_IDLE_SECONDS)


def choose_victims(
    candidates: Sequence[Candidate], missing: Mapping[str, int]
) -> tuple[str, ...] | None:
    """The models to unload so that `missing` bytes per device become free; None if all of them
    were not enough. Models whose keep-alive has not run out go only where no others do."""
    free_to_go = [candidate for candidate in candidates if not candidate.promised]
    return _cheapest(free_to_go, missing) or _cheapest(candidates, missing)


def _cheapest(
    candidates: Sequence[Candidate], missing: Mapping[str, int]
) -> tuple[str, ...] | None:
    """The cheaper of two: one model alone, or several by their cost per byte that is needed."""
    useful = [one for one in candidates if _useful_bytes(one, missing)]
    if not _enough(useful, missing):
        return None
    several: list[Candidate] = []
    for one in sorted(useful, key=lambda one: one.cost / _useful_bytes(one, missing)):
        if not _enough(several, missing):
            several.append(one)
    for one in sorted(several, key=lambda one: -one.cost):
        without = [other for other in several if other is not one]
        several = without if _enough(without, missing) else several
    choices = [several, *([one] for one in useful if _enough([one], missing))]
    best = min(choices, key=_price)
    return tuple(one.name for one in best)


def _price(victims: Sequence[Candidate]) -> tuple[float, int]:
    """What a choice costs; of equals, the one that frees less."""
    freed = sum(sum(one.device_bytes.values()) for one in victims)
    return sum(one.cost for one in victims), freed


def _useful_bytes(candidate: Candidate, missing: Mapping[str, int]) -> int:
    return sum(min(candidate.device_bytes.get(device, 0), lack) for device, lack in missing.items())


def _enough(victims: Sequence[Candidate], missing: Mapping[str, int]) -> bool:
    return all(
        sum(one.device_bytes.get(device, 0) for one in victims) >= lack
        for device, lack in missing.items()
    )
