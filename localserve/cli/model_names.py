"""Names of models for a shell that completes a command line. No command of its own."""

from __future__ import annotations

from localserve.config import read_settings
from localserve.errors import LocalserveError


def models_here(incomplete: str) -> list[str]:
    """Those of this disk that begin so; none where they cannot be looked up."""
    from localserve.catalog.downloaded import find_downloaded  # here: only shells ask for them
    from localserve.catalog.registry import load_registry
    from localserve.cli.found import with_builtin

    try:
        settings = read_settings()
        found = with_builtin(find_downloaded(load_registry(settings), settings))
    except (LocalserveError, OSError):
        return []
    return sorted({one.name for one in found if one.name.startswith(incomplete)})


def models_known(incomplete: str) -> list[str]:
    """Those, and all of models.toml."""
    from localserve.catalog.registry import load_registry

    try:
        registry = load_registry(read_settings())
    except (LocalserveError, OSError):
        return []
    listed = {one.name for one in registry if one.name.startswith(incomplete)}
    return sorted(listed.union(models_here(incomplete)))
