"""What llama.cpp's own programs have downloaded.

Older ones put OWNER_NAME_FILE.gguf side by side into one folder; newer ones use the layout of the
Hugging Face cache, in it or in LLAMA_CACHE. Blocking disk access; any thread.
Source: llama.cpp, common/common.cpp and common/hf-cache.cpp.
"""

from __future__ import annotations

from pathlib import Path

from localserve.catalog.finders import hub_cache
from localserve.catalog.finders.folders import find_in
from localserve.catalog.finders.record import Findings


def find(cache: Path) -> Findings:
    """The models of one cache folder."""
    side_by_side = find_in(cache, "llama.cpp", depth=0, repo_of=lambda path: None)
    return Findings.together([side_by_side, hub_cache.find(cache, "llama.cpp")])
