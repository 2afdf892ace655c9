"""What a model's file says of it, for models that are loaded and for those that are not.

Only the file's header is read, in a worker, and what it says is kept until the file changes. Lives
on the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from localserve.backends.base import Capability
from localserve.backends.local import capabilities_of
from localserve.catalog.headers import read_local
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.errors import LocalserveError
from localserve.gguf.facts import GgufFacts
from localserve.gguf.infill import fills_middle
from localserve.gguf.metadata import Array, Metadata
from localserve.planner.plan import Wanted, context_of

MOST_KEPT: Final = 1024
MOST_VALUE_CHARACTERS: Final = 4096
"""Of a text; longer ones are told elsewhere, as the chat template is, or to nobody."""

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Summary:
    """`size_bytes` counts all shards, `modified_at` is in seconds since the epoch.

    `digest` are 64 hexadecimal digits that are another model's only by chance: of the file's place,
    size and time, not of its content, which would take minutes to read. `context_tokens` is what
    one request could use if the model were loaded as configured. `values` are the file's keys, with
    None for arrays and long texts. `problem` says why the file cannot be read, and then all that
    follows from its header is empty.
    """

    size_bytes: int
    modified_at: float
    digest: str
    architecture: str = ""
    parameters: int = 0
    quantization: str = ""
    context_tokens: int = 0
    chat_template: str = ""
    capabilities: tuple[Capability, ...] = ()
    values: Mapping[str, Scalar | None] = field(default_factory=dict)
    problem: str = ""


class Summaries:
    """Reads and keeps them. `wanted_of` says how a model would be run."""

    def __init__(self, wanted_of: Callable[[ModelSpec], Wanted]) -> None:
        self._wanted_of = wanted_of
        self._kept: dict[object, Summary] = {}

    async def of(self, specs: Sequence[ModelSpec]) -> list[Summary | None]:
        """Those of models; None of one whose file is gone."""
        wishes = [self._wanted_of(spec) for spec in specs]
        return await asyncio.to_thread(
            lambda: [self._read(spec, wanted) for spec, wanted in zip(specs, wishes, strict=True)]
        )

    def _read(self, spec: ModelSpec, wanted: Wanted) -> Summary | None:
        if not isinstance(spec.source, LocalFile):
            return None
        path = spec.source.path
        try:
            status = path.stat()
        except OSError:
            return None
        key = (path, status.st_size, status.st_mtime_ns, spec.chat_template, wanted)
        summary = self._kept.get(key)
        if summary is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            summary = self._kept[key] = _summary(spec, path, status, wanted)
        return summary


def _summary(spec: ModelSpec, path: Path, status: os.stat_result, wanted: Wanted) -> Summary:
    place = f"{path}\0{status.st_size}\0{status.st_mtime_ns}"
    digest = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()
    try:
        facts = read_local(path).facts
        return Summary(
            size_bytes=facts.size_bytes,
            modified_at=status.st_mtime,
            digest=digest,
            architecture=facts.architecture,
            parameters=facts.parameters,
            quantization=facts.quantization,
            context_tokens=context_of(facts, wanted.context_tokens, wanted.pooling_with(facts)),
            chat_template=spec.chat_template or facts.tokenizer.chat_template or "",
            capabilities=_capabilities(spec, facts, wanted),
            values=_values(facts.metadata),
        )
    except LocalserveError as error:
        return Summary(status.st_size, status.st_mtime, digest, problem=str(error))


def _capabilities(spec: ModelSpec, facts: GgufFacts, wanted: Wanted) -> tuple[Capability, ...]:
    pooling = wanted.pooling_with(facts)
    if pooling is not None:
        return ("rerank",) if pooling == "rank" else ("embedding",)
    template = spec.chat_template or facts.tokenizer.chat_template
    return capabilities_of(template, fills_middle(facts.metadata))


def _values(metadata: Metadata) -> dict[str, Scalar | None]:
    values: dict[str, Scalar | None] = {}
    for key, value in metadata.items():
        long = isinstance(value, str) and len(value) > MOST_VALUE_CHARACTERS
        values[key] = None if long or isinstance(value, Array) else value
    return values
