"""One load, from the memory that it is given to what it really took. Lives on the event loop.

Knows one model at a time: when it may be loaded is `Admission`'s to say, what follows from it
`ModelManager`'s. Loading itself happens wherever the `load` function that it was given does it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from localserve.backends.base import Backend
from localserve.catalog.spec import ModelSpec
from localserve.errors import OutOfMemory
from localserve.manager.explain import accuracy
from localserve.manager.ledger import Ledger
from localserve.manager.model import Loaded, Loading, ManagedModel
from localserve.manager.need import Estimate, Need, device_bytes, with_room_beside
from localserve.manager.room import Room, measuring

log = logging.getLogger(__name__)

Progress = Callable[[float], None]
"""Called with the loaded share, 0.0 to 1.0, on the event loop."""

Load = Callable[[ModelSpec, Need, Progress], Awaitable[Backend]]
"""Makes a backend from a model. Raises: ModelUnusable, of which OutOfMemory is tried again."""

LEAST_CONTEXT_TOKENS = 256
"""A context is not made smaller than this to fit."""


class Loader:
    """Loads models within the ledger, which holds their memory from the first byte on."""

    def __init__(
        self,
        load: Load,
        *,
        estimate: Estimate,
        room: Room,
        ledger: Ledger,
        on_release: Callable[[], None],
    ) -> None:
        """`on_release` is called when a load that failed has let go of its memory."""
        self._load = load
        self._estimate = estimate
        self._room = room
        self._ledger = ledger
        self._on_release = on_release

    async def load(self, model: ManagedModel, need: Need) -> Backend:
        """Load; if memory does not suffice after all, once more with half the context.

        What it took is noted in the model. Raises: as the `load` function.
        """
        began = time.monotonic()
        try:
            backend = await self._load_held(model, need)
        except OutOfMemory as error:
            need = await self._smaller(model, need, error)
            backend = await self._load_held(model, need)
        self._write_down(model, need, backend, time.monotonic() - began)
        return backend

    async def _load_held(self, model: ManagedModel, need: Need) -> Backend:
        """Load while the ledger holds the memory; it lets go if that fails."""
        since = time.monotonic()

        def progress(share: float) -> None:
            if isinstance(model.state, Loading):
                model.state = Loading(model.spec.name, share, since)

        self._ledger.hold(model.key, need.device_bytes)
        try:
            return await self._load(model.spec, need, progress)
        except BaseException:
            self._ledger.release(model.key)
            self._on_release()
            with measuring(model.spec.name):
                await self._room.recover({}, {})
            raise

    async def _smaller(self, model: ManagedModel, need: Need, error: OutOfMemory) -> Need:
        """The same model with half the context. Raises: `error`, where that is too little."""
        wanted = need.runtime.context_tokens
        half = wanted // 2
        if half < LEAST_CONTEXT_TOKENS:
            raise error
        log.warning(
            "%s: memory ran out with a context of %d tokens (%s); it is loaded with %d instead",
            model.spec.name,
            wanted,
            error.message,
            half,
        )
        smaller = await self._estimate(model.spec, replace(model.asked, context_tokens=half))
        return replace(smaller, reduced_from_tokens=wanted)

    def _write_down(
        self, model: ManagedModel, need: Need, backend: Backend, seconds: float
    ) -> None:
        """Compare what was predicted with what was measured; the ledger keeps the latter."""
        measured = backend.memory
        model.need = need
        model.loaded = Loaded(
            time.time(),
            seconds,
            need.usage,
            measured,
            need.reduced_from_tokens,
            need.placed.draft,
        )
        if measured is None:
            return
        self._ledger.hold(model.key, device_bytes(with_room_beside(measured, need.usage)))
        log.info("%s: %s", model.spec.name, accuracy(need.usage, measured))
