"""Which models would fit this machine: those of this disk, and those that the catalog offers.

By formula, as if no other model were loaded: the manager makes room. Lives on the event loop;
headers are read and plans are made in a worker, and what they say is kept for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from localserve.catalog.filenames import quantization_of
from localserve.catalog.headers import read_local
from localserve.catalog.registry import Registry, load_registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.config import Settings
from localserve.errors import LocalserveError, UnknownModel
from localserve.gguf.loadable import check_loadable
from localserve.manager.estimate import as_if_alone, companions_of
from localserve.manager.manager import ModelManager
from localserve.planner.bandwidth import NOTHING_MEASURED, known_bandwidth
from localserve.planner.fit import Fit
from localserve.planner.hardware import Hardware
from localserve.planner.learned import Lessons, lessons
from localserve.planner.machine import Machine, machine_of
from localserve.planner.plan import Wanted, wanted_by, wanted_of
from localserve.planner.programs import big_programs
from localserve.planner.quick import Outlook, Subject, outlook, quick_fit
from localserve.planner.shapes import facts_of, resized
from localserve.planner.verdict import Level

KEPT_SECONDS: Final = 10.0
"""How long an answer stays good: what other programs hold changes all the time."""

Look = Callable[[], Awaitable[Hardware]]


@dataclass(frozen=True, slots=True)
class Judgement:
    """A model, whether its file is on this disk, and its outlook or why it has none."""

    name: str
    on_disk: bool
    outlook: Outlook | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """All models, and the machine that they were judged for."""

    models: tuple[Judgement, ...]
    machine: Machine


@dataclass(frozen=True, slots=True)
class Answer:
    """One model in full."""

    fit: Fit
    level: Level
    machine: Machine


class Fits:
    """Answers for the models of `manager`; `look` measures the machine."""

    def __init__(self, manager: ModelManager, settings: Settings, look: Look) -> None:
        self._manager = manager
        self._settings = settings
        self._look = look
        self._turn = asyncio.Lock()
        self._survey: tuple[float, Survey] | None = None

    async def all(self) -> Survey:
        """Every model that can be served or fetched here. Raises: ConfigInvalid."""
        async with self._turn:  # whoever asks meanwhile gets the same answer
            if self._survey is None or time.monotonic() - self._survey[0] > KEPT_SECONDS:
                specs = await self._manager.offered()
                defaults = frozenset(spec.name for spec in specs if self._manager.is_default(spec))
                hardware = await self._alone()
                survey = await asyncio.to_thread(self._judge_all, specs, defaults, hardware)
                self._survey = time.monotonic(), survey
            return self._survey[1]

    async def one(self, name: str) -> Answer:
        """One of them, by its name or an alias.

        Raises: UnknownModel, ModelUnusable, ModelMalformed, ConfigInvalid.
        """
        specs = await self._manager.offered()
        defaults = frozenset(spec.name for spec in specs if self._manager.is_default(spec))
        return await asyncio.to_thread(self._plan, name, specs, defaults, await self._alone())

    async def _alone(self) -> Hardware:
        return as_if_alone(await self._look(), self._manager.ledger.held)

    def _judge_all(
        self, specs: Sequence[ModelSpec], defaults: frozenset[str], hardware: Hardware
    ) -> Survey:
        registry, known = load_registry(self._settings), lessons(self._settings)
        machine = self._machine(hardware)
        models = [
            self._judge(spec, spec.name in defaults, registry, machine, known)
            for spec in _with_catalog(specs, registry)
        ]
        return Survey(tuple(models), machine)

    def _judge(
        self,
        spec: ModelSpec,
        default: bool,
        registry: Registry,
        machine: Machine,
        known: Lessons,
    ) -> Judgement:
        on_disk = isinstance(spec.source, LocalFile)
        try:
            subject = self._subject(spec, default, registry)
            return Judgement(spec.name, on_disk, outlook(subject, machine, known))
        except (LocalserveError, OSError) as error:
            return Judgement(spec.name, on_disk, None, str(error))

    def _plan(
        self, name: str, specs: Sequence[ModelSpec], defaults: frozenset[str], hardware: Hardware
    ) -> Answer:
        registry = load_registry(self._settings)
        known = _with_catalog(specs, registry)
        wanted = name.casefold()
        for spec in known:
            if wanted in {one.casefold() for one in spec.names}:
                break
        else:
            near = get_close_matches(name, [spec.name for spec in known], cutoff=0.0)
            raise UnknownModel(name, tuple(near))
        machine = self._machine(hardware)
        subject = self._subject(spec, spec.name in defaults, registry)
        fit, level = quick_fit(subject, machine, lessons(self._settings))
        return Answer(fit, level, machine)

    def _machine(self, hardware: Hardware) -> Machine:
        known = known_bandwidth(hardware, self._settings) or NOTHING_MEASURED
        return machine_of(hardware, known, big_programs())

    def _subject(self, spec: ModelSpec, default: bool, registry: Registry) -> Subject:
        """Raises: ModelUnusable, ModelMalformed."""
        wanted = wanted_of(self._settings, default=default).over(wanted_by(spec))
        if isinstance(spec.source, LocalFile):
            return self._subject_here(spec, spec.source, wanted, registry)
        assert spec.shape is not None
        facts = {name: facts_of(spec, spec.shape, name) for name in spec.quantizations}
        return Subject(spec.name, facts, wanted)

    def _subject_here(
        self, spec: ModelSpec, source: LocalFile, wanted: Wanted, registry: Registry
    ) -> Subject:
        facts = read_local(source.path).facts
        check_loadable(facts)
        wanted = replace(wanted, companions=companions_of(spec, facts, registry, self._settings))
        here = quantization_of(source.path.name) or facts.quantization
        others = {
            name: resized(facts, name, size_bytes)
            for name, size_bytes in spec.quantizations.items()
            if name.upper() != here.upper()
        }
        return Subject(spec.name, {here: facts, **others}, wanted, here)


def _with_catalog(specs: Sequence[ModelSpec], registry: Registry) -> tuple[ModelSpec, ...]:
    """What is on this disk, then what the catalog knows enough of to plan with."""
    here = [spec for spec in specs if isinstance(spec.source, LocalFile)]
    known = {name.casefold() for spec in here for name in spec.names}
    offered = [
        spec
        for spec in registry
        if isinstance(spec.source, HubFile)
        and spec.shape is not None
        and spec.quantizations
        and spec.name.casefold() not in known
    ]
    return (*here, *offered)
