"""Which model is loaded and who may use it. Knows nothing of HTTP or of llama.cpp.

`ModelManager` is the only code that loads or unloads. It lives on the event loop: loading itself
happens wherever the `load` function that it was given does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from localserve.backends.base import Backend, EngineStatus, ModelFacts
from localserve.catalog.registry import Registry
from localserve.catalog.spec import ModelSpec
from localserve.errors import LocalserveError, ModelLoading, Overloaded, UnknownModel

Progress = Callable[[float], None]
"""Called with the loaded share, 0.0 to 1.0, on the event loop."""

Load = Callable[[ModelSpec, Progress], Awaitable[Backend]]
"""Makes a backend from a model. Raises: ModelUnusable."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The model is on its way; `share` is 0.0 to 1.0."""

    name: str
    share: float
    since: float


@dataclass(frozen=True, slots=True)
class Ready:
    """The model answers."""

    name: str
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class Failed:
    """The model could not be loaded, or its engine died; the next lease tries again."""

    name: str
    error: LocalserveError


State = Loading | Ready | Failed


class ModelManager:
    """Holds the served model and hands out leases on it.

    A lease lives as long as the answer. A backend whose engine died is dropped, and the next lease
    loads it again.
    """

    def __init__(
        self,
        default: ModelSpec,
        load: Load,
        *,
        load_wait_seconds: float = 600.0,
        max_waiting: int = 64,
    ) -> None:
        """At most `max_waiting` leases wait for a load, none longer than `load_wait_seconds`."""
        self._spec = default
        self._load = load
        self._load_wait_seconds = load_wait_seconds
        self._max_waiting = max_waiting
        self._waiting = 0
        self._state: State = Loading(default.name, 0.0, time.monotonic())
        self._backend: Backend | None = None
        self._loading: asyncio.Task[Backend] | None = None
        self._closed = False

    @property
    def spec(self) -> ModelSpec:
        """The model that answers where a request names none."""
        return self._spec

    @property
    def state(self) -> State:
        return self._state

    def models(self) -> tuple[ModelFacts, ...]:
        """The models that answer now."""
        return (self._backend.facts,) if self._backend is not None else ()

    def status(self) -> EngineStatus | None:
        """How busy the model is; None while none is loaded."""
        return self._backend.status() if self._backend is not None else None

    def start(self) -> asyncio.Task[Backend]:
        """Begin to load the default model; loading goes on without a waiter."""
        return self._ensure_loading()

    @asynccontextmanager
    async def lease(self, name: str | None) -> AsyncIterator[Backend]:
        """Hold the backend for `name` (None or "": the default model), loading it if need be.

        Raises: UnknownModel, ModelLoading (it took too long), ModelUnusable, Overloaded (too many
        wait for the load already).
        """
        self._check(name)
        yield await self._ready_backend()

    def _check(self, name: str | None) -> None:
        spec = self._spec
        names = (spec.name, *spec.aliases)
        if not name or name.casefold() in {known.casefold() for known in names}:
            return
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
        raise UnknownModel(
            name, tuple(near), hint=f"This server was started with {spec.name!r} only."
        )

    async def _ready_backend(self) -> Backend:
        backend = self._backend
        if backend is not None and backend.status().alive:
            return backend
        if self._waiting >= self._max_waiting:
            raise Overloaded(
                f"{self._waiting} requests wait for {self._spec.name!r} to be loaded already; this"
                f" server lets {self._max_waiting} wait.",
                retry_after_seconds=5,
                hint="Try again in a few seconds, or start with a larger LOCALSERVE_MAX_WAITING.",
            )
        task = self._ensure_loading()
        self._waiting += 1
        try:
            return await asyncio.wait_for(asyncio.shield(task), self._load_wait_seconds)
        except TimeoutError:
            raise ModelLoading(
                f"{self._spec.name!r} is still being loaded after {self._load_wait_seconds:.0f} s.",
                retry_after_seconds=30,
            ) from None
        finally:
            self._waiting -= 1

    def _ensure_loading(self) -> asyncio.Task[Backend]:
        if self._closed:
            raise ModelLoading("The server is shutting down.", retry_after_seconds=5)
        if self._loading is None or self._loading.done():
            dead, self._backend = self._backend, None
            self._loading = asyncio.create_task(
                self._load_now(dead), name=f"load {self._spec.name}"
            )
            self._loading.add_done_callback(_mark_retrieved)
        return self._loading

    async def _load_now(self, dead: Backend | None) -> Backend:
        spec, since = self._spec, time.monotonic()
        name = spec.name
        self._state = Loading(name, 0.0, since)
        if dead is not None:
            with contextlib.suppress(LocalserveError):
                await dead.close()

        def progress(share: float) -> None:
            if isinstance(self._state, Loading):
                self._state = Loading(name, share, since)

        try:
            backend = await self._load(spec, progress)
        except LocalserveError as error:
            self._state = Failed(name, error)
            raise
        if self._spec is not spec:  # models.toml was read again meanwhile
            backend.reconfigure(self._spec)
        self._backend = backend
        self._state = Ready(backend.facts.name, backend.facts)
        return backend

    def reconfigure(self, spec: ModelSpec) -> None:
        """Take over what models.toml now says of the served model, where that needs no reload."""
        self._spec = spec
        if self._backend is not None:
            self._backend.reconfigure(spec)
            self._state = Ready(spec.name, self._backend.facts)

    async def close(self) -> None:
        """Stop loading, cancel what runs and free the model. Harmless when called twice."""
        self._closed = True
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
            await asyncio.wait([self._loading])
        backend, self._backend = self._backend, None
        if backend is not None:
            await backend.close()


def _mark_retrieved(task: asyncio.Task[Backend]) -> None:
    """Keep asyncio from reporting a failed load that nobody waited for; the state tells it."""
    if not task.cancelled():
        task.exception()


def served_spec(registry: Registry, spec: ModelSpec) -> ModelSpec:
    """`spec` as `registry` now describes it; itself where the registry does not know it.

    The file stays the one that is served: the registry may only know where to get it.
    """
    found = registry.find(spec.name)
    return replace(found, source=spec.source) if found is not None else spec
