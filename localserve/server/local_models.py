"""The models that llama.cpp runs in this process, put together: manager, disk, memory, templates.

Lives on the event loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakSet

from localserve.backends import embedding, local, remote
from localserve.backends.base import Backend, ModelFacts
from localserve.backends.loading import LoadOptions
from localserve.catalog.registry import Registry
from localserve.catalog.spec import ModelSpec, RemoteEngine
from localserve.config import Settings
from localserve.errors import LocalserveError
from localserve.manager import ModelManager, Progress
from localserve.manager.estimate import FileEstimate
from localserve.manager.ledger import Ledger
from localserve.manager.library import DiskLibrary
from localserve.manager.need import Need
from localserve.manager.offer import DiskOffer
from localserve.manager.room import MachineRoom
from localserve.planner.plan import wanted_of
from localserve.planner.usage import RAM
from localserve.prompting.sandbox import TemplateProcess


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told what. `on_loaded` gets the seconds that it took, `on_reload` the default model;
    `on_abort` is called on the thread that failed, and llama.cpp ends the process when it
    returns."""

    on_progress: Callable[[ModelSpec, float], None] = lambda spec, share: None
    on_loaded: Callable[[ModelSpec, ModelFacts, float], None] = lambda spec, facts, seconds: None
    on_failure: Callable[[ModelSpec, LocalserveError], None] = lambda spec, error: None
    on_default: Callable[[ModelSpec], None] = lambda spec: None
    on_reload: Callable[[ModelSpec], None] = lambda spec: None
    on_abort: Callable[[str], None] = lambda reason: None


class LocalModels:
    """`manager` serves `spec` by default, and all else that `registry` and the disk offer."""

    def __init__(
        self, settings: Settings, spec: ModelSpec, registry: Registry, watcher: Watcher
    ) -> None:
        self._settings = settings
        self._watcher = watcher
        self._templates = TemplateProcess()
        self._backends: WeakSet[local.LocalBackend | embedding.EmbeddingBackend] = WeakSet()
        limit = settings.model_ram_bytes
        ledger = Ledger({RAM: limit} if limit is not None else {})
        room = MachineRoom(settings)
        self.look = room.look
        self._offer = DiskOffer(settings, registry)
        self.library = DiskLibrary(settings, self._offer)
        self.manager = ModelManager(
            spec,
            self._load,
            offer=self._offer,
            estimate=FileEstimate(
                self._options_of, room.look, lambda: ledger.held, lambda: self._offer.registry
            ),
            room=room,
            ledger=ledger,
            memory_wait_seconds=settings.memory_wait_seconds,
            keep_alive_seconds=settings.unload_after_seconds,
            on_failure=watcher.on_failure,
            on_default=watcher.on_default,
            max_waiting=settings.max_waiting,
        )

    async def close(self) -> None:
        """End what renders templates; the manager is closed by whoever started it."""
        await self._templates.close()

    def break_all(self, error: LocalserveError) -> None:
        """End all answers that are under way with `error`."""
        for backend in self._backends:
            backend.break_all(error)

    def reconfigure(self, registry: Registry) -> None:
        """Offer these models from now on; loaded ones stay."""
        self._offer.reconfigure(registry)
        self.manager.reconfigure(registry)

    def _options_of(self, spec: ModelSpec) -> LoadOptions:
        """What the user decided. The command line's draft is the default model's."""
        settings, default = self._settings, self.manager.is_default(spec)
        return LoadOptions(
            wanted=wanted_of(settings, default=default),
            threads=settings.threads,
            max_waiting=settings.max_waiting,
            step_budget_seconds=(
                None if settings.step_budget_ms is None else settings.step_budget_ms / 1e3
            ),
            default_max_tokens=settings.default_max_tokens,
            share_prefixes=settings.share_prefixes,
            draft=settings.draft if default else None,
            settings=settings,
        )

    async def _load(self, spec: ModelSpec, need: Need, progress: Progress) -> Backend:
        began = time.monotonic()

        def report(share: float) -> None:
            progress(share)
            self._watcher.on_progress(spec, share)

        options, placed, on_abort = self._options_of(spec), need.placed, self._watcher.on_abort
        if isinstance(spec.source, RemoteEngine):
            return self._loaded(spec, await remote.connect(spec), began)
        backend: local.LocalBackend | embedding.EmbeddingBackend
        if need.runtime.pooling is not None:
            backend = await embedding.load(spec, options, report, placed=placed, on_abort=on_abort)
        else:
            backend = await local.load(
                spec, options, report, self._templates, placed=placed, on_abort=on_abort
            )
        self._backends.add(backend)
        return self._loaded(spec, backend, began)

    def _loaded(self, spec: ModelSpec, backend: Backend, began: float) -> Backend:
        """Tell of it."""
        self._watcher.on_loaded(spec, backend.facts, time.monotonic() - began)
        return backend
