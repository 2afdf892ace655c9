"""Ollama's models: manifests/HOST/OWNER/NAME/TAG, JSON that names files in blobs/.

Manifests are untrusted: a digest that is none leads nowhere. Blocking disk access; any thread.
Source: Ollama's manifest format (server/internal/manifest) and its FAQ on where models lie.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

from localserve.catalog.filenames import as_text
from localserve.catalog.finders.folders import list_folder
from localserve.catalog.finders.peek import peek
from localserve.catalog.finders.record import Findings, FoundModel

MODEL_LAYER: Final = "application/vnd.ollama.image.model"
ADAPTER_LAYER: Final = "application/vnd.ollama.image.adapter"
HOST: Final = "registry.ollama.ai"
OWNER: Final = "library"
LATEST: Final = "latest"
MAX_MANIFEST_BYTES: Final = 1 << 20
MANIFEST_DEPTH: Final = 4

_DIGEST: Final = re.compile(r"^sha256[:-]([0-9a-f]{64})$")


class _Damaged(Exception):
    """A manifest that says nothing usable; the text says why."""


def usual_folders() -> tuple[Path, ...]:
    """Where Ollama keeps its models: of the user, and on Linux of the system's service."""
    service = (Path("/usr/share/ollama/.ollama/models"),) if sys.platform == "linux" else ()
    return (Path.home() / ".ollama" / "models", *service)


def find(models_dir: Path) -> Findings:
    """The models of one models folder."""
    notes: list[str] = []
    models = []
    for manifest in _manifests(models_dir / "manifests", MANIFEST_DEPTH, notes):
        name = _name(manifest.relative_to(models_dir / "manifests"))
        try:
            found = _read(manifest, name, models_dir / "blobs")
        except _Damaged as damaged:
            notes.append(f"Ollama's {name} is skipped: {damaged} ({manifest}).")
        else:
            if found is not None:
                models.append(found)
    return Findings(tuple(models), tuple(notes))


def _manifests(folder: Path, levels: int, notes: list[str]) -> list[Path]:
    found: list[Path] = []
    for entry in list_folder(folder, notes):
        if entry.name.startswith("."):
            continue
        if levels > 1 and entry.is_dir():
            found += _manifests(folder / entry.name, levels - 1, notes)
        elif levels == 1 and not entry.is_dir():
            found.append(folder / entry.name)
    return found


def _name(relative: Path) -> str:
    """The name that `ollama list` shows: host and owner only where they are not the usual ones."""
    host, owner, name, tag = relative.parts
    shown = [name] if (host, owner) == (HOST, OWNER) else [owner, name]
    return as_text("/".join(shown if host == HOST else [host, *shown]) + f":{tag}")


def _read(manifest: Path, name: str, blobs: Path) -> FoundModel | None:
    """The model of a manifest; None where its file is no model. Raises: _Damaged."""
    layers = _layers(manifest)
    digests = [digest for kind, digest in layers if kind == MODEL_LAYER]
    if not digests:
        raise _Damaged("it has no GGUF file on this disk")
    files = tuple(_blob(blobs, digest) for digest in digests)
    peeked = peek(files[0])
    if not peeked.is_model:
        return None
    problem = peeked.problem
    if len(files) > 1:
        problem = f"it consists of {len(files)} files that only Ollama can put together"
    elif any(kind == ADAPTER_LAYER for kind, _ in layers):
        problem = "it is a model with an adapter, which localserve cannot apply"
    return FoundModel(
        name=name,
        source="ollama",
        files=files,
        size_bytes=sum(file.stat().st_size for file in files),
        used_at=manifest.stat().st_mtime,
        aliases=(name.removesuffix(f":{LATEST}"),) if name.endswith(f":{LATEST}") else (),
        architecture=peeked.architecture,
        problem=problem,
    )


def _layers(manifest: Path) -> list[tuple[str, str]]:
    """(media type, digest) of each layer. Raises: _Damaged."""
    try:
        with manifest.open("rb") as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
        document = json.loads(content[:MAX_MANIFEST_BYTES])
    except OSError as error:
        raise _Damaged(f"its manifest cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise _Damaged("its manifest is damaged") from error
    layers = document.get("layers") if isinstance(document, dict) else None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise _Damaged("its manifest lists no layers")
    return [(str(layer.get("mediaType", "")), str(layer.get("digest", ""))) for layer in layers]


def _blob(blobs: Path, digest: str) -> Path:
    """The file of a digest; older versions wrote its name with a colon. Raises: _Damaged."""
    found = _DIGEST.match(digest)
    if found is None:
        raise _Damaged(f"its manifest names {digest[:80]!r}, which is no digest")
    for name in (f"sha256-{found[1]}", f"sha256:{found[1]}"):
        if (blobs / name).is_file():
            return blobs / name
    raise _Damaged(f"its file sha256-{found[1][:12]}… is missing")
