"""One model as the manager holds it: what it is, how far it is, who uses it. Event loop only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from localserve.backends.base import Backend, EngineStatus, ModelFacts
from localserve.catalog.spec import ModelSpec
from localserve.errors import LocalserveError
from localserve.manager.need import Need
from localserve.manager.wishes import Wishes
from localserve.planner.plan import Wanted
from localserve.planner.usage import MemoryUsage


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


@dataclass(frozen=True, slots=True)
class Idle:
    """The model is not loaded; the next lease loads it."""

    name: str


State = Loading | Ready | Failed | Idle


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is known of a load that went well.

    `predicted` is what was reckoned with, `measured` what llama.cpp counts now (None where it does
    not tell). `reduced_from_tokens` is the context that was wanted where memory did not suffice.
    """

    at: float
    seconds: float
    predicted: MemoryUsage
    measured: MemoryUsage | None
    reduced_from_tokens: int | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A model for people and programs to look at. Times are seconds since the epoch.

    `expires_at` is when it is unloaded if nobody uses it before; None: when its memory is needed.
    """

    spec: ModelSpec
    state: State
    pinned: bool
    leases: int
    waiting: int
    status: EngineStatus | None
    loaded: Loaded | None
    device_bytes: Mapping[str, int]
    idle_since: float | None
    expires_at: float | None


@dataclass(slots=True, eq=False)
class ManagedModel:
    """A model that was asked for. `leases` are the answers that run, `waiting` those that wait for
    it to be loaded; with either of them it is in use. `asked` is what was asked for
    beyond its settings when it was loaded, until it is unloaded."""

    spec: ModelSpec
    state: State
    backend: Backend | None = None
    loading: asyncio.Task[Backend] | None = None
    unloading: asyncio.Task[None] | None = None
    loaded: Loaded | None = None
    asked: Wanted = field(default_factory=Wanted)
    need: Need | None = None
    leases: int = 0
    waiting: int = 0
    pin: bool | None = None
    used_at: float = field(default_factory=time.time)
    timer: asyncio.TimerHandle | None = None
    wishes: Wishes = field(default_factory=Wishes)

    @property
    def key(self) -> str:
        return self.spec.name.casefold()

    @property
    def pinned(self) -> bool:
        """Whether it stays: as somebody said while it ran, else as models.toml says."""
        return self.spec.pin if self.pin is None else self.pin

    @property
    def alive(self) -> bool:
        """Whether it answers."""
        return (
            self.backend is not None
            and self.unloading is None
            and (self.loading is None or self.loading.done())
            and self.backend.status().alive
        )

    @property
    def may_go(self) -> bool:
        """Loaded, and neither used nor pinned nor on its way out."""
        return (
            self.backend is not None
            and self.unloading is None
            and (self.loading is None or self.loading.done())
            and not self.in_use
            and not self.pinned
        )

    @property
    def in_use(self) -> bool:
        return self.leases > 0 or self.waiting > 0

    @property
    def idle_seconds(self) -> float:
        return 0.0 if self.in_use else max(0.0, time.time() - self.used_at)
