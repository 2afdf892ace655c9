"""When localserve last served which file, kept in the cache folder.

Losing it loses nothing but the order in which models are proposed. Blocking disk access; any
thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Final

from localserve.config import Settings

FILE_NAME: Final = "last-used.json"
MAX_FILES: Final = 1000
MAX_BYTES: Final = 1 << 20


def last_uses(settings: Settings) -> dict[str, float]:
    """Seconds since the epoch by path; empty where nothing usable is kept."""
    try:
        with (settings.cache_dir / FILE_NAME).open("rb") as stream:
            document = json.loads(stream.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(document, dict):
        return {}
    now = time.time()
    return {
        path: float(used_at)
        for path, used_at in document.items()
        if isinstance(used_at, int | float) and 0 <= used_at <= now
    }


def remember_use(path: Path, settings: Settings) -> None:
    """Note that a file is being served now. A folder that cannot be written to is no error."""
    uses = last_uses(settings) | {str(path): time.time()}
    newest = sorted(uses, key=lambda used: uses[used], reverse=True)[:MAX_FILES]
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=settings.cache_dir, prefix=f".{FILE_NAME}.")
    except OSError:
        return
    try:
        with os.fdopen(handle, "w") as stream:
            json.dump({used: uses[used] for used in newest}, stream)
        os.replace(name, settings.cache_dir / FILE_NAME)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
