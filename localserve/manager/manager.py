"""Which models are loaded and who may use them. Knows nothing of HTTP or of llama.cpp.

`ModelManager` is the only code that has models loaded or unloaded. `admission.py` says when one may
be loaded and who goes for it, `loading.py` carries it out; models that are loaded go on answering
meanwhile. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from localserve.backends.base import Backend, EngineStatus, ModelFacts
from localserve.catalog.registry import Registry
from localserve.catalog.spec import ModelSpec, RemoteEngine
from localserve.errors import (
    EngineFailed,
    LocalserveError,
    ModelInUse,
    ModelLoading,
    Overloaded,
    UnknownModel,
)
from localserve.manager.admission import Admission
from localserve.manager.explain import size_text
from localserve.manager.keep_alive import KeepAlive
from localserve.manager.ledger import Ledger
from localserve.manager.loading import Load, Loader
from localserve.manager.model import (
    Failed,
    Idle,
    Loading,
    ManagedModel,
    ModelReport,
    Ready,
    State,
)
from localserve.manager.names import without_latest
from localserve.manager.need import Estimate
from localserve.manager.offer import Offer
from localserve.manager.room import Room, measuring
from localserve.manager.wishes import Wishes
from localserve.planner.plan import Wanted

log = logging.getLogger(__name__)

LoadWatcher = Callable[[str, float | None], None]
"""Told of a model's name and how many seconds it took to load; None where it could not be."""

NOTHING_WANTED = Wanted()


@dataclass(frozen=True, slots=True)
class Lease:
    """A hold on one backend, which is not unloaded as long as it lasts.

    `reduced_from_tokens` is the context that was wanted where there was no memory for it.
    """

    backend: Backend
    reduced_from_tokens: int | None = None


class ModelManager:
    """Holds models within the memory of the devices and hands out leases on them.

    A lease lives as long as the answer. A backend whose engine died is dropped, and the next lease
    loads it again. Nobody who asks for a loaded model waits for another one's load.
    """

    def __init__(
        self,
        default: ModelSpec,
        load: Load,
        *,
        offer: Offer,
        estimate: Estimate,
        room: Room,
        ledger: Ledger | None = None,
        on_failure: Callable[[ModelSpec, LocalserveError], None] = lambda spec, error: None,
        on_default: Callable[[ModelSpec], None] = lambda spec: None,
        load_wait_seconds: float = 600.0,
        memory_wait_seconds: float = 60.0,
        keep_alive_seconds: float = 0.0,
        max_waiting: int = 64,
    ) -> None:
        """At most `max_waiting` leases wait for loads, none longer than `load_wait_seconds`; a load
        waits at most `memory_wait_seconds` for memory that running answers hold. `on_failure` is
        told of every load that failed, `on_default` of another default model. `keep_alive_seconds`
        are for models that do not say (0: they stay until their memory is needed)."""
        self._offer = offer
        self._estimate = estimate
        self._room = room
        self._ledger = ledger or Ledger()
        self._on_failure = on_failure
        self._on_default = on_default
        self._load_wait_seconds = load_wait_seconds
        self._keep_alive = KeepAlive(
            keep_alive_seconds,
            is_default=lambda model: model is self._default,
            unload=self._unload_soon,
        )
        self._max_waiting = max_waiting
        self._waiting = 0
        self._default = ManagedModel(default, Loading(default.name, 0.0, time.monotonic()))
        self._heir: ManagedModel | None = None
        self._models = {self._default.key: self._default}
        self._admission = Admission(
            estimate=estimate,
            room=room,
            ledger=self._ledger,
            models=lambda: self._models,
            promised_seconds=self._keep_alive.promised_seconds,
            unload=self._unload_now,
            wait_seconds=memory_wait_seconds,
        )
        self._loader = Loader(
            load,
            estimate=estimate,
            room=room,
            ledger=self._ledger,
            on_release=self._admission.tell_change,
        )
        self._closed = False
        self._load_watchers: list[LoadWatcher] = []

    # What is there

    @property
    def spec(self) -> ModelSpec:
        """The model that answers where a request names none."""
        return self._default.spec

    @property
    def state(self) -> State:
        """How far the default model is."""
        return self._default.state

    @property
    def ledger(self) -> Ledger:
        """Who holds how much of the devices' memory. To look at."""
        return self._ledger

    def is_default(self, spec: ModelSpec) -> bool:
        """Whether requests that name no model get this one, now or as soon as it is loaded."""
        models = (self._default, self._heir)
        return any(spec.name == model.spec.name for model in models if model is not None)

    def watch_loads(self, watcher: LoadWatcher) -> None:
        """Tell `watcher` of every load that ends from now on."""
        self._load_watchers.append(watcher)

    def backends(self) -> tuple[Backend, ...]:
        """Those that answer now, the default model's first. To look at, and not to keep."""
        return tuple(one.backend for one in self._models.values() if one.backend is not None)

    def models(self) -> tuple[ModelFacts, ...]:
        """The models that answer now, the default one first."""
        return tuple(backend.facts for backend in self.backends())

    def status(self) -> EngineStatus | None:
        """How busy the default model is; None while it is not loaded."""
        backend = self._default.backend
        return backend.status() if backend is not None else None

    async def responsive(self, timeout_seconds: float) -> bool:
        """Whether the default model's engine steps; a dead one is loaded again first.

        Does not count as a use of the model. Raises: as `lease`.
        """
        model = self._default
        if not model.alive:
            await self._have_loaded(model)
        return model.backend is not None and await model.backend.responsive(timeout_seconds)

    def report(self) -> tuple[ModelReport, ...]:
        """All models that were asked for, the default one first."""
        return tuple(self._report(model) for model in self._models.values())

    async def report_on(self, name: str | None) -> ModelReport:
        """One model. Raises: UnknownModel and others, as `lease`."""
        return self._report(await self._named(name))

    async def offered(self) -> tuple[ModelSpec, ...]:
        """Every model that requests can name: those that were asked for, then all of this disk."""
        specs = {model.key: model.spec for model in self._models.values()}
        for spec in await self._offer.everything():
            specs.setdefault(spec.name.casefold(), spec)
        return tuple(specs.values())

    def _report(self, model: ManagedModel) -> ModelReport:
        return ModelReport(
            spec=model.spec,
            state=model.state if model.unloading is None else Idle(model.spec.name),
            pinned=model.pinned,
            leases=model.leases,
            waiting=model.waiting,
            status=model.backend.status() if model.backend is not None else None,
            loaded=model.loaded,
            device_bytes=self._ledger.held_by(model.key),
            idle_since=None if model.in_use or model.backend is None else model.used_at,
            expires_at=self._keep_alive.expires_at(model),
        )

    # Leases

    def start(self) -> asyncio.Task[Backend]:
        """Begin to load the default model; loading goes on without a waiter."""
        return self._ensure_loading(self._default)

    @asynccontextmanager
    async def lease(
        self, name: str | None, *, keep_alive_seconds: float | None = None
    ) -> AsyncIterator[Lease]:
        """Hold the model `name` (None or "": the default one), loading it if need be.

        `keep_alive_seconds` is how long it is to stay loaded afterwards (None: as it is configured;
        infinity: as long as it can). 0 is an order: nobody else using it then, it is unloaded.

        Raises: UnknownModel, AmbiguousName, ModelLoading (it took too long), ModelUnusable,
        ModelTooLarge, MemoryBusy, Overloaded (too many wait for loads already).
        """
        model = await self._named(name)
        backend = await self._acquire(model)
        model.wishes.add(keep_alive_seconds)
        reduced = model.loaded.reduced_from_tokens if model.loaded is not None else None
        try:
            yield Lease(backend, reduced)
        finally:
            self._release(model)
            if keep_alive_seconds == 0:
                self._unload_soon(model, "after its request, as asked")

    async def _named(self, name: str | None) -> ManagedModel:
        if not name:
            return self._default
        try:
            return await self._exactly_named(name)
        except UnknownModel:
            bare = without_latest(name)
            if bare == name:
                raise
            return await self._exactly_named(bare)

    async def _exactly_named(self, name: str) -> ManagedModel:
        wanted = name.casefold()
        for model in self._models.values():
            if wanted in {known.casefold() for known in model.spec.names}:
                return model
        spec = await self._offer.find(name)
        model = ManagedModel(spec, Idle(spec.name))
        return self._models.setdefault(model.key, model)

    async def _acquire(self, model: ManagedModel) -> Backend:
        """Wait until the model answers, and count as one who uses it from then on."""
        if not model.alive:
            await self._wait_until_alive(model)
        self._keep_alive.stop(model)
        model.leases += 1
        model.used_at = time.time()
        assert model.backend is not None
        return model.backend

    async def _wait_until_alive(self, model: ManagedModel) -> None:
        if self._waiting >= self._max_waiting:
            raise Overloaded(
                f"{self._waiting} requests wait for models to be loaded already; this server lets"
                f" {self._max_waiting} wait.",
                retry_after_seconds=5,
                hint="Try again in a few seconds, or start with a larger LOCALSERVE_MAX_WAITING.",
            )
        self._waiting += 1
        model.waiting += 1  # in the same step as the last look at it: it cannot go in between
        try:
            async with asyncio.timeout(self._load_wait_seconds):
                while not model.alive:
                    await self._have_loaded(model)
        except TimeoutError:
            raise ModelLoading(
                f"{model.spec.name!r} is still being loaded after {self._load_wait_seconds:.0f} s.",
                retry_after_seconds=30,
            ) from None
        finally:
            self._waiting -= 1
            model.waiting -= 1
            self._settle(model)

    async def _have_loaded(self, model: ManagedModel) -> None:
        """Wait for a load, which goes on if this wait is given up. Raises what the load raises."""
        while True:
            loading = self._ensure_loading(model)
            given_up = loading.cancelling() > 0  # before anybody here waited: then it begins anew
            await asyncio.wait([loading])
            if not loading.cancelled():
                loading.result()
                return
            if self._closed:
                raise ModelLoading("The server is shutting down.", retry_after_seconds=5)
            if not given_up:
                raise EngineFailed(f"{model.spec.name!r} was unloaded while it was being loaded.")

    def _release(self, model: ManagedModel) -> None:
        model.leases -= 1
        self._settle(model)

    def _settle(self, model: ManagedModel) -> None:
        """Somebody let go of a model: it may be unused now."""
        model.used_at = time.time()
        if model.in_use:
            return
        self._admission.tell_change()
        self._keep_alive.begin(model)

    # Loading

    def _ensure_loading(
        self, model: ManagedModel, wanted: Wanted = NOTHING_WANTED
    ) -> asyncio.Task[Backend]:
        """The load that is under way, else one as `wanted`; a dead engine's model as before."""
        if self._closed:
            raise ModelLoading("The server is shutting down.", retry_after_seconds=5)
        if model.loading is None or model.loading.done():
            model.asked = wanted.over(model.asked)
            model.loading = asyncio.create_task(
                self._load_now(model), name=f"load {model.spec.name}"
            )
            model.loading.add_done_callback(_mark_retrieved)
        return model.loading

    async def _load_now(self, model: ManagedModel) -> Backend:
        spec = model.spec
        if model.unloading is not None:
            await asyncio.wait([model.unloading])
        model.state = Loading(spec.name, 0.0, time.monotonic())
        try:
            await self._discard(model)
            need = await self._estimate(spec, model.asked)
            async with self._admission.admitted(model, need):
                backend = await self._loader.load(model, need)
        except Exception as error:
            failure = _as_failure(spec, error)
            model.asked = Wanted()
            model.state = Failed(spec.name, failure)
            self._tell_load(spec, None)
            self._on_failure(spec, failure)
            if failure is error:
                raise
            raise failure from error
        except asyncio.CancelledError:
            model.asked = Wanted()
            model.state = Idle(spec.name)
            raise
        if model.spec is not spec:  # models.toml was read again meanwhile
            backend.reconfigure(model.spec)
        model.backend = backend
        model.state = Ready(backend.facts.name, backend.facts)
        if model.loaded is not None:
            self._tell_load(spec, model.loaded.seconds)
        self._keep_alive.begin(model)
        return backend

    def _tell_load(self, spec: ModelSpec, seconds: float | None) -> None:
        for watcher in self._load_watchers:
            watcher(spec.name, seconds)

    # Unloading

    async def load(self, name: str, wanted: Wanted = NOTHING_WANTED) -> ModelReport:
        """Load a model without asking it anything; `wanted` binds the plan of this load.

        One that is loaded otherwise is loaded anew. Where that cannot be, it stays as it is.
        Raises: ModelInUse, and as `lease`.
        """
        model = await self._named(name)
        if wanted != NOTHING_WANTED:
            await self._load_as(model, wanted)
        async with self.lease(name):
            pass
        return self._report(model)

    async def _load_as(self, model: ManagedModel, wanted: Wanted) -> None:
        while not (model.alive and _runs_as(model, wanted)):
            under_way = [task for task in (model.loading, model.unloading) if task is not None]
            if any(not task.done() for task in under_way):
                await asyncio.wait(under_way)
            elif model.alive:
                await self._check_wish(model, wanted)
                await self._unload_now(model, "to be loaded as asked")
            else:
                self._ensure_loading(model, wanted)
                await self._wait_until_alive(model)

    async def _check_wish(self, model: ManagedModel, wanted: Wanted) -> None:
        """Raises: what speaks against loading it so, while it is still loaded as it is."""
        need = await self._estimate(model.spec, wanted)
        await self._admission.check_size(model, need, wanted)
        if model.in_use:
            raise ModelInUse(
                f"{model.spec.name!r} is loaded otherwise and in use: {model.leases} requests are"
                f" being answered, {model.waiting} wait for it.",
                hint="Try again when they have ended, or unload it with force first.",
            )

    async def unload(self, name: str, *, force: bool = False) -> ModelReport:
        """Free a model's memory; the next request that names it loads it again.

        With `force`, the answers that run end with an error. Raises: ModelInUse, UnknownModel.
        """
        model = await self._named(name)
        if model.in_use and not force:
            raise ModelInUse(
                f"{model.spec.name!r} is in use: {model.leases} requests are being answered,"
                f" {model.waiting} wait for it.",
                hint='Try again when they have ended, or send {"force": true} to end them.',
            )
        if model.loading is not None and not model.loading.done():
            await self._cancel_load(model)
        await self._unload_now(model, "as asked")
        return self._report(model)

    async def make_default(self, name: str) -> ModelReport:
        """Let requests that name no model get this one, once it is loaded. Raises: as `lease`."""
        model = await self._named(name)
        self._heir = model
        try:
            async with self.lease(name):
                self._default = model
        finally:
            self._heir = None
        self._models = {model.key: model, **self._models}
        self._on_default(model.spec)
        return self._report(model)

    async def forget(self, name: str) -> None:
        """Unload a model whose files are about to go, and know it no more; harmless for one that
        nobody asked for.

        Raises: ModelInUse, also where it is the default one.
        """
        model = self._models.get(name.casefold())
        if model is None:
            return
        if model in (self._default, self._heir):
            raise ModelInUse(
                f"{model.spec.name!r} is the model that answers where requests name none.",
                hint="Let another one be that first: POST /admin/models/NAME/default.",
            )
        await self.unload(name)
        if not model.in_use:
            self._models.pop(model.key, None)

    async def set_pin(self, name: str, pinned: bool) -> ModelReport:
        """Let a model stay whatever happens, or not; loads nothing."""
        model = await self._named(name)
        model.pin = pinned
        self._keep_alive.begin(model)
        self._admission.tell_change()
        return self._report(model)

    async def _cancel_load(self, model: ManagedModel) -> None:
        assert model.loading is not None
        model.loading.cancel()
        await asyncio.wait([model.loading])

    async def _unload_now(self, model: ManagedModel, why: str) -> None:
        """Unload, and wait until the memory is back. Goes on if whoever asked leaves."""
        if model.unloading is None:
            if model.backend is None:
                return
            self._keep_alive.stop(model)
            model.unloading = asyncio.create_task(
                self._free(model, why), name=f"unload {model.spec.name}"
            )
        await asyncio.shield(model.unloading)

    async def _free(self, model: ManagedModel, why: str) -> None:
        held = sum(self._ledger.held_by(model.key).values())
        try:
            async with self._recovery(model):
                await self._discard(model)
        finally:
            model.state = Idle(model.spec.name)
            model.wishes = Wishes()
            model.asked = Wanted()
            model.unloading = None
            self._admission.tell_change()
        log.info("%s is unloaded %s: %s are free again", model.spec.name, why, size_text(held))

    @asynccontextmanager
    async def _recovery(self, model: ManagedModel) -> AsyncIterator[None]:
        """Wait for the memory that is freed within. One that cannot be measured is freed all the
        same, and not waited for."""
        touched = model.need.touched_bytes if model.need is not None else {}
        before: Mapping[str, int] | None = None
        with measuring(model.spec.name):
            before = await self._room.used()
        yield
        if before is not None:
            with measuring(model.spec.name):
                await self._room.recover(before, touched)

    async def _discard(self, model: ManagedModel) -> None:
        """Close the backend, if there is one, and let go of its memory."""
        backend, model.backend, model.loaded = model.backend, None, None
        if model.loading is not None and model.loading.done():
            model.loading = None  # its result would keep the weights
        if backend is not None:
            with contextlib.suppress(LocalserveError):
                await backend.close()
            self._ledger.release(model.key)

    def _unload_soon(self, model: ManagedModel, why: str) -> None:
        """Begin to unload it, unless somebody needs it."""
        if model.may_go and not self._closed:
            self._keep_alive.stop(model)
            model.unloading = asyncio.create_task(
                self._free(model, why), name=f"unload {model.spec.name}"
            )

    # The end, and models.toml

    def reconfigure(self, registry: Registry) -> None:
        """Take over what models.toml now says, where that needs no reload. What is loaded stays."""
        for model in self._models.values():
            spec = _served_spec(registry, model.spec)
            if spec == model.spec:
                continue
            model.spec = replace(spec, name=model.spec.name)
            if model.backend is not None:
                model.backend.reconfigure(model.spec)
                model.state = Ready(model.spec.name, model.backend.facts)
            self._keep_alive.begin(model)

    async def close(self) -> None:
        """Stop loading, cancel what runs and free all models. Harmless when called twice."""
        self._closed = True
        models = list(self._models.values())
        self._keep_alive.end(models)
        loading = [one.loading for one in models if one.loading and not one.loading.done()]
        for task in loading:
            task.cancel()
        unloading = [one.unloading for one in models if one.unloading is not None]
        await _all_done([*loading, *unloading])
        await asyncio.gather(*map(self._discard, models))


def _runs_as(model: ManagedModel, wanted: Wanted) -> bool:
    """Whether it was loaded as wanted, if with a smaller context where memory ran out."""
    return model.asked == wanted or (model.need is not None and model.need.satisfies(wanted))


def _as_failure(spec: ModelSpec, error: Exception) -> LocalserveError:
    """What is told of a load that ended so: of what nobody foresaw only the log has the words."""
    if isinstance(error, LocalserveError):
        return error
    log.error("%s could not be loaded", spec.name, exc_info=error)
    return EngineFailed(
        f"{spec.name!r} could not be loaded: {type(error).__name__}.",
        retry_after_seconds=5,
        hint="The server's log has the reason.",
    )


async def _all_done(tasks: Sequence[asyncio.Task[Backend] | asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(tasks)


def _mark_retrieved(task: asyncio.Task[Backend]) -> None:
    """Keep asyncio from reporting a failed load that nobody waited for; the state tells it."""
    if not task.cancelled():
        task.exception()


def _served_spec(registry: Registry, spec: ModelSpec) -> ModelSpec:
    """`spec` as `registry` now describes it; itself where the registry does not know it.

    The file stays the one that is served: the registry may only know where to get it. Other servers
    may be others now.
    """
    found = registry.find(spec.name)
    if found is None:
        return spec
    if isinstance(spec.source, RemoteEngine) and isinstance(found.source, RemoteEngine):
        return found
    return replace(found, source=spec.source)
