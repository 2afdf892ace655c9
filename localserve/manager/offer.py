"""Which models requests can name: all that are on this disk. Lives on the event loop.

Disk access runs in a worker. Paths are no names here: a request must not reach into the disk.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final, Protocol

from localserve.catalog.downloaded import builtin_model, find_downloaded, match_exactly, to_spec
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.locate import find_model, unknown_model
from localserve.catalog.registry import Registry
from localserve.catalog.spec import ModelSpec, RemoteEngine
from localserve.config import Settings

KEPT_SECONDS: Final = 5.0
"""How long a look at the disk stays good: clients ask for the list of models all the time."""


class Offer(Protocol):
    """The models that can be asked for."""

    async def find(self, name: str) -> ModelSpec:
        """The model of that name or alias, on this disk.

        Raises: UnknownModel, AmbiguousName, NotDownloaded, ModelUnusable.
        """
        ...

    async def everything(self) -> tuple[ModelSpec, ...]:
        """All models that can be served: those of this disk, and those of other servers."""
        ...


class DiskOffer:
    """The models of models.toml, other servers' too, and those that other programs brought here."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._found: tuple[FoundModel, ...] = ()
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    @property
    def registry(self) -> Registry:
        """What models.toml says."""
        return self._registry

    def look_again(self) -> None:
        """Something has come or gone: what was seen before does not count any more."""
        self._looked_at = float("-inf")

    def reconfigure(self, registry: Registry) -> None:
        """Take over what models.toml says now."""
        self._registry = registry
        self.look_again()

    async def find(self, name: str) -> ModelSpec:
        registry, settings = self._registry, self._settings
        if registry.find(name) is not None:
            return await asyncio.to_thread(find_model, name, registry, settings)
        found = await self.found()
        model = match_exactly(name, found)
        if model is None or model.problem:
            raise unknown_model(name, registry, found)
        return to_spec(model, registry)

    async def everything(self) -> tuple[ModelSpec, ...]:
        specs = [to_spec(model, self._registry) for model in await self.found()]
        specs += [spec for spec in self._registry if isinstance(spec.source, RemoteEngine)]
        return tuple({spec.name.casefold(): spec for spec in reversed(specs)}.values())[::-1]

    async def found(self) -> tuple[FoundModel, ...]:
        """The models of this disk that nothing speaks against, as of a few seconds ago at most."""
        async with self._looking:
            if time.monotonic() - self._looked_at > KEPT_SECONDS:
                findings = await asyncio.to_thread(find_downloaded, self._registry, self._settings)
                usable = tuple(model for model in findings.models if not model.problem)
                self._found = (*usable, await asyncio.to_thread(builtin_model))
                self._looked_at = time.monotonic()
        return self._found
