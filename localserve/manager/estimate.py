"""What a model needs, asked of llama.cpp itself in a child process, else by formula.

Lives on the event loop; the asking runs in a worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from localserve.backends.local import LoadOptions, choose_runtime
from localserve.catalog.headers import read_local
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.errors import ModelUnusable
from localserve.gguf.loadable import check_loadable
from localserve.manager.need import Need
from localserve.planner import formula
from localserve.planner.dry_run import Refused, dry_run
from localserve.planner.runtime import Runtime

log = logging.getLogger(__name__)

MOST_KEPT = 64

FileState = tuple[Path, int, int]
"""A file, its bytes and when it was changed."""


class FileEstimate:
    """Implements `Estimate` over the model's own file; keeps what it was told."""

    def __init__(self, options: Callable[[ModelSpec], LoadOptions]) -> None:
        self._options = options
        self._kept: dict[tuple[FileState, Runtime], Need] = {}

    async def __call__(self, spec: ModelSpec, context_tokens: int | None) -> Need:
        return await asyncio.to_thread(self._estimate, spec, context_tokens)

    def _estimate(self, spec: ModelSpec, context_tokens: int | None) -> Need:
        if not isinstance(spec.source, LocalFile):
            raise ModelUnusable(f"The model {spec.name!r} is not on this disk.")
        path = spec.source.path
        facts = read_local(path).facts
        check_loadable(facts)
        runtime = choose_runtime(spec, self._options(spec), facts)
        if context_tokens is not None:
            runtime = replace(runtime, context_tokens=min(context_tokens, runtime.context_tokens))
        status = path.stat()
        key = ((path, status.st_size, status.st_mtime_ns), runtime)
        if key not in self._kept:
            answer = dry_run(path, [runtime])[0]
            if isinstance(answer, Refused) and answer.crashed:
                raise ModelUnusable(
                    f"{spec.name!r} is not loaded, for it would end the server: {answer.reason}.",
                    hint="Use another conversion of the model.",
                )
            if isinstance(answer, Refused):
                log.warning("%s: its memory is estimated: %s", spec.name, answer.reason)
                return Need(runtime, formula.estimate(facts, runtime))
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[key] = Need(runtime, answer)
        return self._kept[key]
