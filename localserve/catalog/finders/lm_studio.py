"""LM Studio's models: PUBLISHER/NAME/FILE.gguf in its models folder.

Blocking disk access; any thread. Source: LM Studio's documentation of importing models; where its
home is stands in ~/.lmstudio-home-pointer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from localserve.catalog.finders.folders import find_in
from localserve.catalog.finders.own import repo_of
from localserve.catalog.finders.record import Findings

POINTER: Final = ".lmstudio-home-pointer"
MAX_POINTER_BYTES: Final = 4096


def usual_folders() -> tuple[Path, ...]:
    """Where LM Studio keeps its models: in the home that it chose, in its usual ones."""
    home = Path.home()
    homes = [home / ".lmstudio", home / ".cache" / "lm-studio"]
    try:
        with (home / POINTER).open("rb") as stream:
            pointed = stream.read(MAX_POINTER_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        pointed = ""
    if pointed and "\0" not in pointed:
        homes.insert(0, home / pointed)
    return tuple(dict.fromkeys(folder / "models" for folder in homes))


def find(models_dir: Path) -> Findings:
    """The models of one models folder."""
    return find_in(models_dir, "lm-studio", depth=4, repo_of=repo_of)
