"""What every load of a model into this process does, whatever the model makes.

Engines are loaded on their own threads; all else here lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from localserve.backends.placement import Placed, place_model
from localserve.catalog.headers import read_local
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.config import Settings
from localserve.errors import LocalserveError, ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.gguf.loadable import check_loadable
from localserve.planner.devices import GPU_KINDS
from localserve.planner.plan import Wanted, wanted_by

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What the user decided; None means 'as models.toml says, or the default'."""

    wanted: Wanted = field(default_factory=Wanted)
    threads: int | None = None
    max_waiting: int = 64
    step_budget_seconds: float | None = None
    default_max_tokens: int | None = None
    share_prefixes: bool = False
    draft: str | None = None
    """The model that guesses for this one, instead of the one that its entry names."""
    settings: Settings | None = None
    """Where measurements and lessons are kept; without them nothing is planned and learned."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that may be loaded, and how it is run."""

    path: Path
    facts: GgufFacts
    placed: Placed


class ShareReport:
    """Brings the loaded share (0.0 to 1.0) from the engine thread to the event loop that made this.

    Calling it tells whether to go on: not once the load was given up.
    """

    def __init__(self, progress: Callable[[float], None]) -> None:
        """`progress` is called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._progress = progress
        self._wanted = True

    def __call__(self, share: float) -> bool:
        if self._wanted:
            self._loop.call_soon_threadsafe(self._progress, share)
        return self._wanted

    def give_up(self) -> None:
        self._wanted = False


class Closable(Protocol):
    """An engine, as far as a load that fails is concerned."""

    async def close(self) -> object: ...


def path_on_disk(spec: ModelSpec) -> Path:
    """Where the model lies. Raises: ModelUnusable."""
    if not isinstance(spec.source, LocalFile):
        raise ModelUnusable(f"The model {spec.name!r} is not on this disk.")
    return spec.source.path


def prepare(
    spec: ModelSpec,
    path: Path,
    options: LoadOptions,
    placed: Placed | None,
    on_abort: Callable[[str], None],
) -> Prepared:
    """Check the file, and plan how it is run where `placed` does not say it already.

    Blocks, and imports llama.cpp: call it on the engine thread. `on_abort` is told there, with the
    reason, when llama.cpp is about to abort the process. Raises: ModelUnusable.
    """
    from localserve.llama import library
    from localserve.llama.devices import devices

    def has_gpu() -> bool:
        return any(device.kind in GPU_KINDS for device in devices())

    library.watch_abort(on_abort)
    facts = read_local(path).facts
    check_loadable(facts)
    wanted = options.wanted.over(wanted_by(spec))
    placed = placed or place_model(path, facts, spec.name, wanted, options.settings, has_gpu)
    return Prepared(path, facts, placed)


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Let what fails inside keep nothing of the functions that it passed on its way here.

    An error keeps their frames and so the weights, and there would be no room for a second try
    until it is forgotten.
    """
    try:
        yield
    except BaseException as failure:
        traceback.clear_frames(failure.__traceback__)
        raise


@asynccontextmanager
async def closed_on_failure(
    engine: Closable, spec: ModelSpec, report: ShareReport
) -> AsyncIterator[None]:
    """Leave nothing of the engine where what happens inside fails or is cancelled.

    Raises: ModelUnusable, where it fails by anything unforeseen.
    """
    try:
        yield
    except BaseException as failure:
        report.give_up()
        await asyncio.shield(engine.close())
        if isinstance(failure, LocalserveError) or not isinstance(failure, Exception):
            raise
        log.exception("loading %s failed", spec.name)
        why = f"{type(failure).__name__}: {failure}"
        raise ModelUnusable(f"{spec.name!r} could not be loaded: {why}.") from failure
