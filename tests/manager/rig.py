"""A manager over fake backends, with what the tests look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from localserve.backends.base import Backend
from localserve.catalog.spec import ModelSpec
from localserve.manager import ModelManager, Progress
from localserve.manager.ledger import Ledger
from localserve.manager.model import ManagedModel
from localserve.manager.need import Need
from localserve.planner.plan import Wanted
from localserve.planner.usage import RAM, MemoryUsage
from localserve.testing import FakeBackend, FakeOffer, FakeRoom, fake_estimate, fake_spec


class WatchedManager(ModelManager):
    """Notes when it evicts what it must not."""

    violations: tuple[str, ...] = ()

    async def _unload_now(self, model: ManagedModel, why: str) -> None:
        evicted = why.startswith("to make room")
        if evicted and (model.pinned or model.in_use):
            self.violations += (f"{model.spec.name} {why}",)
        await super()._unload_now(model, why)


class Rig:
    """Models of so many bytes by name, the first of which is the default one.

    `loads` are the models in the order in which they were loaded, `held_before` what the ledger
    held as each of them began, `overruns` the moments at which more was loaded than there is.
    `failures` are raised by the next loads of a name. `planned` changes what a model is thought to
    need, `measured` is what every one then takes.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        total_bytes: int,
        *,
        load_seconds: Callable[[str], float] = lambda name: 0.0,
        specs: Mapping[str, Mapping[str, object]] | None = None,
        context_tokens: int = 0,
        room: FakeRoom | None = None,
        planned: Callable[[ModelSpec, Need], Need] = lambda spec, need: need,
        measured: MemoryUsage | None = None,
        **options: object,
    ) -> None:
        self.sizes = sizes
        self.total_bytes = total_bytes
        self.loads: list[str] = []
        self.needs: list[Need] = []
        self.held_before: list[Mapping[str, int]] = []
        self.failures: dict[str, list[Exception]] = {}
        self.overruns: list[set[str]] = []
        self.present: dict[str, list[FakeBackend]] = {}
        self.ledger = Ledger()
        self.room = room or FakeRoom(total_bytes)
        self.pinned_once = False
        self._load_seconds = load_seconds
        self._measured = measured
        self.specs = {
            name: replace(fake_spec(name), **((specs or {}).get(name, {})))  # type: ignore[arg-type]
            for name in sizes
        }
        estimate = fake_estimate(sizes, context_tokens)

        async def need_of(spec: ModelSpec, wanted: Wanted) -> Need:
            return planned(spec, await estimate(spec, wanted))

        all_specs = list(self.specs.values())
        self.manager = WatchedManager(
            all_specs[0],
            self._load,
            offer=FakeOffer(all_specs),
            estimate=need_of,
            room=self.room,
            ledger=self.ledger,
            **options,  # type: ignore[arg-type]
        )

    def loaded(self) -> set[str]:
        """Which models are in memory."""
        return {
            name
            for name, backends in self.present.items()
            if any(not backend.closed for backend in backends)
        }

    def backend(self, name: str) -> FakeBackend:
        """The newest backend of a model."""
        return self.present[name][-1]

    async def _load(self, spec: ModelSpec, need: Need, progress: Progress) -> Backend:
        self.loads.append(spec.name)
        self.needs.append(need)
        self.held_before.append(dict(self.ledger.held))
        backend = FakeBackend(name=spec.name, context_tokens=need.runtime.context_tokens or 64)
        backend.memory = self._measured
        self.present.setdefault(spec.name, []).append(backend)
        if sum(self.sizes[name] for name in self.loaded()) > self.total_bytes:
            self.overruns.append(self.loaded())
        try:
            await asyncio.sleep(self._load_seconds(spec.name))
            if failures := self.failures.get(spec.name):
                raise failures.pop(0)
        except BaseException:
            backend.closed = True
            raise
        return backend

    async def use(self, name: str | None, seconds: float = 0.0) -> None:
        """One answer of that length."""
        async with self.manager.lease(name) as lease:
            assert isinstance(lease.backend, FakeBackend)
            await asyncio.sleep(seconds)
            assert not lease.backend.closed, f"{name} was unloaded while it was used"

    def held_bytes(self) -> int:
        return self.ledger.held.get(RAM, 0)
