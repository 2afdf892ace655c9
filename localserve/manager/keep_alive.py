"""When models that nobody uses are unloaded. Lives on the event loop.

Knows neither how a model is unloaded nor which one is the default: `ModelManager` says both.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable

from localserve.manager.model import ManagedModel


class KeepAlive:
    """The timers of idle models, at most one for each."""

    def __init__(
        self,
        seconds: float,
        *,
        is_default: Callable[[ManagedModel], bool],
        unload: Callable[[ManagedModel, str], None],
    ) -> None:
        """`seconds` are for models that do not say (0: they stay until their memory is needed).
        `unload` is told of a model whose time is over, and why it goes."""
        self._seconds = seconds
        self._is_default = is_default
        self._unload = unload
        self._ended = False

    def begin(self, model: ManagedModel) -> None:
        """From now on its time runs anew, if it is loaded, idle, and is to go at all."""
        self.stop(model)
        seconds = self._idle_limit(model)
        if seconds == math.inf or model.pinned or model.in_use or self._ended:
            return
        if model.backend is None:
            return
        why = f"after {seconds:g} s without a request"
        model.timer = asyncio.get_running_loop().call_later(seconds, self._unload, model, why)

    def stop(self, model: ManagedModel) -> None:
        """It stays, until `begin` is called again. Harmless when nothing runs."""
        if model.timer is not None:
            model.timer.cancel()
            model.timer = None

    def end(self, models: Iterable[ManagedModel]) -> None:
        """Stop all timers, for good."""
        self._ended = True
        for model in models:
            self.stop(model)

    def promised_seconds(self, model: ManagedModel) -> float:
        """How long it was to stay by its entry or by somebody's wish, memory permitting."""
        return max(self._own_seconds(model), model.wishes.promised_seconds)

    def expires_at(self, model: ManagedModel) -> float | None:
        """When it is unloaded if nobody uses it before (seconds since the epoch); None: never."""
        limit = self._idle_limit(model)
        if model.backend is None or model.pinned or limit == math.inf:
            return None
        return (time.time() if model.in_use else model.used_at) + limit

    def _idle_limit(self, model: ManagedModel) -> float:
        """Seconds without a request after which it is unloaded; infinity: never. The default model
        is everybody's: no wish of a single request makes it go sooner."""
        own = self._own_seconds(model) or math.inf
        limit = model.wishes.idle_seconds(own)
        return max(own, limit) if self._is_default(model) else limit

    def _own_seconds(self, model: ManagedModel) -> float:
        own = model.spec.keep_alive_seconds
        return self._seconds if own is None else own
