"""What a model will take of which device's memory: the manager's only question to the planner.

`Estimate` is the one place where the answer comes from. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from localserve.backends.placement import Placed
from localserve.catalog.spec import ModelSpec
from localserve.planner.plan import Wanted
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, Beside, MemoryUsage


@dataclass(frozen=True, slots=True)
class Need:
    """How a model is to be run, and the memory that it takes then.

    `reduced_from_tokens` is the context that was wanted where there was no memory for it.
    """

    placed: Placed
    reduced_from_tokens: int | None = None

    @property
    def runtime(self) -> Runtime:
        return self.placed.runtime

    @property
    def usage(self) -> MemoryUsage:
        return self.placed.predicted

    @property
    def device_bytes(self) -> Mapping[str, int]:
        """Bytes by device, the output buffer, checkpoints and the model's companions among them."""
        return device_bytes(self.usage)

    @property
    def touched_bytes(self) -> Mapping[str, int]:
        """Bytes by device that are in use as soon as the model is loaded: weights and cache, those
        of its draft among them."""
        drafts = (one.devices for one in self.usage.beside if one.kind == "draft")
        touched: Counter[str] = Counter()
        for device in chain(self.usage.devices, *drafts):
            touched[device.device] += device.weights_bytes + device.cache_bytes
        return touched

    def satisfies(self, wanted: Wanted) -> bool:
        """Whether the model is run as wanted already."""
        runtime = self.runtime
        run = Wanted(
            context_tokens=runtime.context_tokens,
            parallel=self.placed.parallel,
            cache_type_k=runtime.cache_type_k,
            cache_type_v=runtime.cache_type_v,
            gpu_layers=runtime.gpu_layers,
            cpu_expert_layers=runtime.cpu_expert_layers,
            pooling=runtime.pooling,
        )
        return wanted.over(run) == run


Estimate = Callable[[ModelSpec, Wanted], Awaitable[Need]]
"""What a model needs; what is wanted comes before what models.toml and the command line say.

Raises: ModelUnusable, of which ModelTooLarge; MemoryBusy, where other programs hold the memory.
"""


def with_room_beside(measured: MemoryUsage, planned: MemoryUsage) -> MemoryUsage:
    """What was measured, and what was planned for companions that are not loaded."""
    loaded = {one.kind for one in measured.beside}
    room = tuple(one for one in planned.beside if one.kind not in loaded)
    return replace(measured, beside=measured.beside + room)


def device_bytes(usage: MemoryUsage) -> dict[str, int]:
    """Bytes by device, the output buffer and checkpoints among RAM's, and what companions take."""
    parts: tuple[MemoryUsage | Beside, ...] = (usage, *usage.beside)
    sizes = {RAM: 0} | {one.device: 0 for part in parts for one in part.devices}
    sizes[RAM] += usage.checkpoint_bytes
    for part in parts:
        sizes[RAM] += part.output_bytes
        for one in part.devices:
            sizes[one.device] += one.total_bytes
    return sizes
