"""Ollama's manifests and blobs, whole and damaged."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from localserve.catalog.finders import ollama
from tests.catalog.gguf_files import Value, gguf_bytes

MODEL = "application/vnd.ollama.image.model"
ADAPTER = "application/vnd.ollama.image.adapter"
OFFICIAL = "registry.ollama.ai/library"


def add_model(
    models: Path,
    place: str,
    keys: dict[str, Value] | None = None,
    *,
    separator: str = "-",
    more_layers: tuple[dict[str, object], ...] = (),
    written_at: float = 1e9,
) -> Path:
    """A model as `ollama pull` leaves it; `place` is HOST/OWNER/NAME/TAG. The blob's path."""
    content = gguf_bytes({"general.name": place, **(keys or {})})
    digest = hashlib.sha256(content).hexdigest()
    blob = models / "blobs" / f"sha256{separator}{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    layers: list[dict[str, object]] = [
        {"mediaType": MODEL, "digest": f"sha256:{digest}", "size": len(content)},
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:0", "size": 1},
        *more_layers,
    ]
    manifest = models / "manifests" / place
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    os.utime(manifest, (written_at, written_at))
    return blob


@pytest.mark.parametrize(
    ("place", "name", "aliases"),
    [
        (f"{OFFICIAL}/llama3.2/1b", "llama3.2:1b", ()),
        (f"{OFFICIAL}/llama3.2/latest", "llama3.2:latest", ("llama3.2",)),
        ("registry.ollama.ai/me/mine/latest", "me/mine:latest", ("me/mine",)),
        ("hf.co/o/r-GGUF/Q4_K_M", "hf.co/o/r-GGUF:Q4_K_M", ()),
    ],
)
def test_models_have_the_names_that_ollama_shows(
    tmp_path: Path, place: str, name: str, aliases: tuple[str, ...]
) -> None:
    blob = add_model(tmp_path, place, written_at=9.0)
    (found,) = ollama.find(tmp_path).models
    assert (found.name, found.aliases, found.source) == (name, aliases, "ollama")
    assert (found.files, found.size_bytes) == ((blob,), blob.stat().st_size)
    assert (found.used_at, found.architecture, found.problem) == (9.0, "llama", "")


def test_blobs_of_older_versions_are_found(tmp_path: Path) -> None:
    blob = add_model(tmp_path, f"{OFFICIAL}/a/b", separator=":")
    assert ollama.find(tmp_path).models[0].path == blob


def test_a_projector_beside_the_model_is_no_hindrance(tmp_path: Path) -> None:
    projector = {"mediaType": "application/vnd.ollama.image.projector", "digest": "sha256:1"}
    add_model(tmp_path, f"{OFFICIAL}/gemma3/4b", more_layers=(projector,))
    assert ollama.find(tmp_path).models[0].problem == ""


def test_an_adapter_makes_it_another_model_than_ollama_serves(tmp_path: Path) -> None:
    adapter = {"mediaType": ADAPTER, "digest": "sha256:1"}
    add_model(tmp_path, f"{OFFICIAL}/a/b", more_layers=(adapter,))
    assert "adapter" in ollama.find(tmp_path).models[0].problem


def test_a_file_that_is_no_model_is_left_out(tmp_path: Path) -> None:
    add_model(tmp_path, f"{OFFICIAL}/a/b", {"general.type": "adapter"})
    assert ollama.find(tmp_path) == ollama.Findings()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "its manifest is damaged"),
        (b"\xff\xfe\x00", "its manifest is damaged"),
        (b"[" * 100_000, "its manifest is damaged"),
        (b"[]", "its manifest lists no layers"),
        (b'{"layers": 3}', "its manifest lists no layers"),
        (b'{"layers": [3]}', "its manifest lists no layers"),
        (b'{"layers": []}', "it has no GGUF file on this disk"),
        (b'{"layers": [{"mediaType": "%s"}]}', "names '', which is no digest"),
        (
            b'{"layers": [{"mediaType": "%s", "digest": "sha256:../../../../etc/passwd"}]}',
            "which is no digest",
        ),
        (
            b'{"layers": [{"mediaType": "%s", "digest": "sha256:' + b"a" * 64 + b'"}]}',
            "its file sha256-aaaaaaaaaaaa… is missing",
        ),
    ],
)
def test_a_damaged_manifest_is_skipped_with_a_note_and_the_others_are_found(
    tmp_path: Path, content: bytes, words: str
) -> None:
    add_model(tmp_path, f"{OFFICIAL}/good/latest")
    manifest = tmp_path / "manifests" / OFFICIAL / "bad" / "latest"
    manifest.parent.mkdir()
    manifest.write_bytes(content.replace(b"%s", MODEL.encode()))
    found = ollama.find(tmp_path)
    assert [model.name for model in found.models] == ["good:latest"]
    (note,) = found.notes
    assert note.startswith("Ollama's bad:latest is skipped: ")
    assert words in note


def test_files_at_other_depths_and_hidden_ones_are_no_manifests(tmp_path: Path) -> None:
    add_model(tmp_path, f"{OFFICIAL}/good/latest")
    (tmp_path / "manifests" / "stray").write_text("{}")
    (tmp_path / "manifests" / OFFICIAL / "good" / ".DS_Store").write_text("{}")
    found = ollama.find(tmp_path)
    assert len(found.models) == 1
    assert found.notes == ()


def test_its_usual_folder_is_in_the_home_folder(home: Path) -> None:
    assert ollama.usual_folders()[0] == home / ".ollama" / "models"
