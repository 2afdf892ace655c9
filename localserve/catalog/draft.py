"""The draft of a model, the smaller one that guesses for it: where it is, and its header.

Blocking: call it from a worker thread.
"""

from __future__ import annotations

from pathlib import Path

from localserve.catalog.candidates import find_candidates
from localserve.catalog.filenames import by_preference
from localserve.catalog.header_fetch import Progress
from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry
from localserve.catalog.spec import LocalFile
from localserve.config import Settings
from localserve.errors import ModelUnusable
from localserve.gguf.facts import GgufFacts


def read_draft(
    text: str, registry: Registry, settings: Settings, progress: Progress = lambda count: None
) -> GgufFacts:
    """The facts of the model that `text` means, as for `find_candidates`; of a repository those
    of the named quantization, else of Q4_K_M or the one nearest to it.

    Raises: UnknownModel, ModelUnusable.
    """
    found = find_candidates(text, registry, settings, progress)
    name = found.quantization or by_preference(found.found)[0]
    headers = found.found[name]
    if isinstance(headers, ModelUnusable):
        raise headers
    return headers.facts


def find_draft(text: str, registry: Registry, settings: Settings) -> Path:
    """The file of the model on this disk that `text` means.

    Raises: UnknownModel, ModelUnusable, NotDownloaded.
    """
    spec = find_model(text, registry, settings)
    if not isinstance(spec.source, LocalFile):
        raise ModelUnusable(
            f"{spec.name!r} is served by other servers and cannot guess for a model of this one.",
            hint="Name a model of this disk, or a GGUF file.",
        )
    return spec.source.path
