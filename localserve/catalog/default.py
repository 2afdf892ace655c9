"""Which model to serve when the user named none. Pure, but for asking how much memory is free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psutil

from localserve.catalog.finders.record import OWNERS, FoundModel

SPARE_BYTES: Final = 1 << 30
"""What context, computation and the rest of the process take besides the weights, roughly."""

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


def available_memory_bytes() -> int:
    """The memory that programs can take now without swapping."""
    return int(psutil.virtual_memory().available)


def needed_bytes(found: FoundModel) -> int:
    """About how much memory serving a model takes: its files, a tenth more, and `SPARE_BYTES`."""
    return found.size_bytes + found.size_bytes // 10 + SPARE_BYTES


def choose_default(models: Sequence[FoundModel], available_bytes: int) -> Choice:
    """The most recently used model that chats and fits into memory, else the built-in one."""
    skipped: list[str] = []
    for found in sorted(models, key=lambda model: -model.used_at):
        against = _against(found, available_bytes)
        if not against:
            why = "the most recently used model on this disk"
            if skipped:
                why += " that can be served here"
            return Choice(found, f"{why}, from {OWNERS[found.source]}", tuple(skipped))
        skipped.append(f"{found.full_name} is not taken: {against}.")
    here = "no other model on this disk can be served here"
    why = here if skipped else "there is no other model on this disk"
    return Choice(None, f"the built-in model: {why}", tuple(skipped))


def _against(found: FoundModel, available_bytes: int) -> str:
    """What speaks against serving a model unasked; empty if nothing does."""
    if found.problem:
        return found.problem
    name = found.name.casefold()
    if found.pooling == "rank" or "rerank" in name:
        return "it ranks texts and writes none"
    if found.pooling is not None:
        return "it makes embeddings, not text"
    if found.architecture.startswith(EMBEDDING_ARCHITECTURES) or "embed" in name:
        return "it makes embeddings, not text"
    if (needed := needed_bytes(found)) > available_bytes:
        return (
            f"it needs about {needed / 1e9:.1f} GB of memory, {available_bytes / 1e9:.1f} GB"
            " are free"
        )
    return ""
