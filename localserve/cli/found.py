"""Models that were found, as JSON and by the name that a user types. No command of its own."""

from __future__ import annotations

from datetime import UTC, datetime

from localserve.catalog.downloaded import (
    builtin_model,
    entry_of,
    match_beginning,
    match_entry,
    match_exactly,
)
from localserve.catalog.finders.record import Findings, FoundModel
from localserve.catalog.registry import Registry


def with_builtin(findings: Findings) -> tuple[FoundModel, ...]:
    """All models that can be served from this disk; the built-in one is the last."""
    return (*findings.models, builtin_model())


def match(text: str, models: tuple[FoundModel, ...], registry: Registry) -> FoundModel | None:
    """The model on this disk that was meant, as `localserve up` understands names.

    Raises: AmbiguousName.
    """
    found = match_exactly(text, models)
    entry = registry.find(text)
    if found is None and entry is not None:
        return match_entry(entry, models, registry)
    return found or match_beginning(text, models)


def found_document(found: FoundModel, registry: Registry) -> dict[str, object]:
    """One model as JSON: sizes in bytes, times as RFC 3339, null for what is not known."""
    entry = entry_of(found, registry)
    return {
        "name": found.name,
        "aliases": list(found.aliases),
        "source": found.source,
        "entry": entry.name if entry is not None else None,
        "size_bytes": found.size_bytes,
        "quantization": found.quantization,
        "architecture": found.architecture or None,
        "repo": found.repo,
        "path": str(found.path),
        "files": [str(file) for file in found.files],
        "used_at": datetime.fromtimestamp(found.used_at, UTC).isoformat(timespec="seconds"),
        "problem": found.problem or None,
    }
