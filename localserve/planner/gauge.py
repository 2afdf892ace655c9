"""The measures that plans are made with: llama.cpp's own count, or the formula.

One dry run for each context, cache type and number of sequences serves all quantizations of a
model: weights follow exactly from each header, the rest does not depend on them. Blocks where a
child is asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from localserve.gguf.facts import GgufFacts
from localserve.gguf.header import Header
from localserve.gguf.hollow import write_hollow
from localserve.planner.dry_run import Refused, dry_run
from localserve.planner.formula import estimate
from localserve.planner.placement import Measure
from localserve.planner.runtime import Runtime
from localserve.planner.usage import DeviceUsage, MemoryUsage

Answer = MemoryUsage | Refused


def by_formula(facts: GgufFacts, gpus: Sequence[str]) -> Measure:
    """The measure for machines that are not this one."""

    def measure(runtimes: Sequence[Runtime]) -> list[Answer]:
        return [estimate(facts, runtime, gpus) for runtime in runtimes]

    return measure


def extrapolated(
    facts: GgufFacts, runtime: Runtime, usage: MemoryUsage, gpus: Sequence[str]
) -> Measure:
    """A guess at runtimes that are much like one whose usage is known."""
    thought = estimate(facts, runtime, gpus)

    def measure(runtimes: Sequence[Runtime]) -> list[Answer]:
        return [_like(estimate(facts, one, gpus), usage, thought) for one in runtimes]

    return measure


class DryRuns:
    """llama.cpp's answers about one model, each asked for once. Use it as a context manager.

    The headers stand as hollow files in a folder of its own for as long as the block lasts; a
    model that is whole on this disk is read where it is (`path`).
    """

    def __init__(self, headers: Sequence[Header], path: Path | None = None) -> None:
        self._headers = headers
        self._path = path
        self._known: dict[Runtime, Answer] = {}
        self._stack = ExitStack()

    def __enter__(self) -> DryRuns:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def measure(self, runtimes: Sequence[Runtime]) -> list[Answer]:
        """What llama.cpp says of this file. Raises: ModelUnusable (no room for hollow files)."""
        asked = list(dict.fromkeys(runtime for runtime in runtimes if runtime not in self._known))
        if asked:
            self._known |= zip(asked, dry_run(self._file(), asked), strict=True)
        return [self._known[runtime] for runtime in runtimes]

    def _file(self) -> Path:
        if self._path is None:
            folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="localserve-"))
            self._path = write_hollow(self._headers, Path(folder))
        return self._path


class Sibling:
    """Measures a quantization by the dry runs of another one of the same model."""

    def __init__(self, dry: DryRuns, dry_facts: GgufFacts, gpus: Sequence[str]) -> None:
        self._dry = dry
        self._dry_facts = dry_facts
        self._gpus = gpus

    def learn(self, runtimes: Sequence[Runtime]) -> None:
        """Ask about all of them at once, which is quicker than one after the other."""
        self._dry.measure([self._unplaced(runtime) for runtime in runtimes])

    def measure_of(self, facts: GgufFacts) -> Measure:
        """The measure of that quantization."""

        def measure(runtimes: Sequence[Runtime]) -> list[Answer]:
            return [self._measure(facts, runtime) for runtime in runtimes]

        return measure

    def _measure(self, facts: GgufFacts, runtime: Runtime) -> Answer:
        key = self._unplaced(runtime)
        (real,) = self._dry.measure([key])
        if isinstance(real, Refused):
            return real
        thought = estimate(self._dry_facts, key, self._gpus)
        return _like(estimate(facts, runtime, self._gpus), real, thought)

    def _unplaced(self, runtime: Runtime) -> Runtime:
        """The runtime that stands for all placements: the best one, which most plans are."""
        layers = None if self._gpus else 0
        return replace(runtime, gpu_layers=layers, cpu_expert_layers=0, tensor_split=())


def _like(usage: MemoryUsage, real: MemoryUsage, thought: MemoryUsage) -> MemoryUsage:
    """An estimate, corrected as the estimate `thought` of a like runtime would have to be."""
    devices = [
        _corrected(device, real.of(device.device), thought.of(device.device))
        for device in usage.devices
    ]
    return replace(usage, devices=tuple(devices))


def _corrected(device: DeviceUsage, real: DeviceUsage, thought: DeviceUsage) -> DeviceUsage:
    """With compute buffers as they really are, where there are any, and the cache likewise."""
    compute, cache = device.compute_bytes, device.cache_bytes
    if real.compute_bytes and thought.compute_bytes:
        compute = compute * real.compute_bytes // thought.compute_bytes
    if real.cache_bytes and thought.cache_bytes:
        cache = cache * real.cache_bytes // thought.cache_bytes
    return replace(device, compute_bytes=compute, cache_bytes=cache)
