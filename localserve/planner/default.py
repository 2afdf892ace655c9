"""Which model to serve when the user named none: the one used last whose plan fits; where there is
none, which of the catalog is worth a download.

Plans are made by formula: nobody waits for llama.cpp's count before anything is served. Blocks for
the headers of the models that are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from localserve.catalog.downloaded import to_spec
from localserve.catalog.finders.record import OWNERS, FoundModel
from localserve.catalog.headers import read_local
from localserve.catalog.registry import Registry
from localserve.catalog.spec import HubFile
from localserve.config import Settings
from localserve.errors import ModelUnusable
from localserve.gguf.loadable import check_loadable
from localserve.gguf.pooling import Pooling
from localserve.planner.bandwidth import NOTHING_MEASURED, measure_bandwidth
from localserve.planner.fit import rank_catalog
from localserve.planner.gauge import by_formula
from localserve.planner.hardware import Hardware, probe
from localserve.planner.learned import lessons
from localserve.planner.machine import Machine, machine_of
from localserve.planner.plan import Plan, make_plan, stretched, wanted_by, wanted_of
from localserve.planner.sizes import memory_text

EMBEDDING_ARCHITECTURES: Final = (
    "bert",
    "eurobert",
    "gemma-embedding",
    "jina-bert",
    "modern-bert",
    "neo-bert",
    "nomic-bert",
    "t5encoder",
)
"""How `general.architecture` begins in models that make vectors, not text. Source: llama.cpp,
src/llama-arch.cpp."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The model (None: the built-in one), why it is that, and why others are not."""

    found: FoundModel | None
    why: str
    skipped: tuple[str, ...] = ()


def this_machine(settings: Settings) -> Machine:
    """This machine as it is now, its speed left aside. Takes a second where drivers are slow."""
    return machine_of(probe(settings), NOTHING_MEASURED)


def choose_default(
    models: Sequence[FoundModel],
    registry: Registry,
    settings: Settings,
    find_machine: Callable[[Settings], Machine] = this_machine,
) -> Choice:
    """The most recently used model that chats and would fit as `up` runs it, else the built-in one.

    The machine is looked at only where there is a model to choose.
    """
    skipped: list[str] = []
    machine: Machine | None = None
    for found in sorted(models, key=lambda model: -model.used_at):
        against = _no_chat_model(found)
        if not against:
            machine = machine or find_machine(settings)
            against = _no_use(found, registry, settings, machine)
        if not against:
            why = "the most recently used model on this disk"
            if skipped:
                why += " that can be served here"
            return Choice(found, f"{why}, from {OWNERS[found.source]}", tuple(skipped))
        skipped.append(f"{found.full_name} is not taken: {against.rstrip('.')}.")
    here = "no other model on this disk can be served here"
    why = here if skipped else "there is no other model on this disk"
    return Choice(None, f"the built-in model: {why}", tuple(skipped))


def _no_chat_model(found: FoundModel) -> str:
    """What speaks against serving a model unasked, by its name and file; empty if nothing does."""
    if found.problem:
        return found.problem
    name = found.name.casefold()
    if found.pooling is not None:
        return _instead_of_text(found.pooling)
    if "rerank" in name:
        return _instead_of_text("rank")
    known = found.architecture.startswith(EMBEDDING_ARCHITECTURES)
    return _instead_of_text("mean") if known or "embed" in name else ""


def _instead_of_text(pooling: Pooling) -> str:
    return (
        "it ranks texts and writes none" if pooling == "rank" else "it makes embeddings, not text"
    )


def _no_use(found: FoundModel, registry: Registry, settings: Settings, machine: Machine) -> str:
    """What speaks against running the model as it is configured on the machine as it is now; empty
    if nothing does."""
    room = sum(place.room_bytes for place in machine.places if not place.unified)
    if found.size_bytes > room:  # no header needs to be read for that
        size = memory_text(found.size_bytes)
        return f"its files have {size}, and models may take {memory_text(room)} here"
    try:
        plan = plan_found(found, registry, settings, machine)
    except ModelUnusable as problem:
        return problem.message
    if plan.runtime.pooling is not None:  # its entry, or what lies behind the file's first keys
        return _instead_of_text(plan.runtime.pooling)
    if plan.fits:
        return ""
    load = plan.tightest
    needed = f"{memory_text(load.needed_bytes)} of {machine.place(load.place).title}"
    return (
        f"with {plan.runtime.context_tokens} tokens of context it needs {needed},"
        f" and models may take {memory_text(load.room_bytes)}"
    )


def plan_found(found: FoundModel, registry: Registry, settings: Settings, machine: Machine) -> Plan:
    """How `up` would run a model of this disk, by formula. Raises: ModelUnusable."""
    facts = read_local(found.path).facts
    check_loadable(facts)
    surcharge = lessons(settings).surcharge(facts.architecture, machine.backend)
    wanted = wanted_of(settings).over(wanted_by(to_spec(found, registry)))
    machine = replace(machine, surcharge=surcharge)
    measure = by_formula(facts, machine.gpu_names)
    return stretched(make_plan(facts, wanted, machine, measure), machine, measure)


def best_fitting(registry: Registry, settings: Settings, hardware: Hardware) -> Plan | None:
    """The best chat model of the catalog that would run here as it is now, and fits on the disk.

    What can be known of the machine's speed decides between large and quick ones; it is measured
    once.
    """
    machine = machine_of(hardware, measure_bandwidth(hardware, settings))
    chat = (spec for spec in registry if spec.kind == "chat" and isinstance(spec.source, HubFile))
    plans = rank_catalog(Registry(tuple(chat)), wanted_of(settings), machine)
    disk = hardware.disk.free_bytes
    return next(
        (plan for plan in plans if plan.fits and (disk is None or plan.facts.size_bytes < disk)),
        None,
    )
