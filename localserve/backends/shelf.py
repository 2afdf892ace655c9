"""Where a loaded model's kept prefixes go on disk, and what they must not be mistaken for.

Blocks: call it on the engine thread, while the model is being loaded.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

from localserve.catalog.file_identity import file_identities
from localserve.config import Settings
from localserve.engine.disk.folder import PrefixFolder
from localserve.engine.disk.shelf import Shelf
from localserve.planner.runtime import Runtime

log = logging.getLogger(__name__)

MOST_SAVE_SECONDS: Final = 5.0
"""Of the end of a server: half of what it gets beyond its drain time."""

NEUTRAL: Final = {
    "sequences",
    "gpu_layers",
    "cpu_expert_layers",
    "tensor_split",
    "batch_tokens",
    "load_mode",
    "guess_tokens",
}
"""What a runtime says of where and in which portions things are computed: a state means the same
whatever these are."""


def open_shelf(
    settings: Settings, name: str, path: Path, runtime: Runtime, version: str, *, cuttable: bool
) -> Shelf | None:
    """The prefixes on disk of a model's file that is run so, by llama.cpp of this version; None
    where that is switched off, or the folder cannot be used, which is told once."""
    if not settings.prefix_disk_bytes:
        return None
    folder = PrefixFolder(settings.prefixes_dir, settings.prefix_disk_bytes)
    try:
        identity = {
            "files": file_identities(path),
            "runtime": {key: one for key, one in asdict(runtime).items() if key not in NEUTRAL},
            "llama.cpp": version,
            "byte_order": sys.byteorder,
        }
        return Shelf(folder, identity, cuttable=cuttable, name=name)
    except OSError as failure:
        log.warning(
            "%s: kept prefixes will not outlast this server: %s. Set LOCALSERVE_PREFIXES_DIR to a"
            " folder of yours.",
            name,
            failure,
        )
        return None


def save_seconds(settings: Settings | None) -> float:
    """How long a model that is closed may take to write its prefixes."""
    return min(settings.drain_seconds, MOST_SAVE_SECONDS) if settings is not None else 0.0
