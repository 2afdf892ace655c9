"""Deleting downloads, and nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from localserve.catalog.finders import own
from localserve.catalog.finders.record import FoundModel, Source
from localserve.catalog.remove import check_removable, remove
from localserve.config import Settings
from localserve.errors import ModelUnusable
from tests.catalog.gguf_files import write_gguf


def test_files_and_empty_folders_go_and_the_bytes_are_counted(settings: Settings) -> None:
    folder = settings.models_dir / "o" / "r"
    shards = [write_gguf(folder / f"a-{n:05}-of-00002.gguf") for n in (1, 2)]
    size_bytes = sum(shard.stat().st_size for shard in shards)
    (folder / ".download.lock").touch()
    (found,) = own.find(settings.models_dir).models
    assert remove(found, settings) == size_bytes
    assert settings.models_dir.exists()
    assert list(settings.models_dir.iterdir()) == []


def test_other_models_of_the_repository_stay(settings: Settings) -> None:
    folder = settings.models_dir / "o" / "r"
    kept = write_gguf(folder / "a-Q8_0.gguf")
    write_gguf(folder / "a-Q4_0.gguf")
    (folder / ".download.lock").touch()
    found = next(m for m in own.find(settings.models_dir).models if m.name == "a-Q4_0")
    remove(found, settings)
    assert sorted(path.name for path in folder.iterdir()) == [".download.lock", kept.name]


def test_a_link_is_deleted_and_not_what_it_leads_to(settings: Settings, tmp_path: Path) -> None:
    target = write_gguf(tmp_path / "elsewhere.gguf")
    link = settings.models_dir / "mine.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    (found,) = own.find(settings.models_dir).models
    remove(found, settings)
    assert target.exists()
    assert not link.is_symlink()


@pytest.mark.parametrize(
    ("source", "way"),
    [
        ("ollama", "Run: ollama rm 'my model:1b'"),
        ("hub", "Run: hf cache rm model/owner/repo"),
        ("lm-studio", "under My Models"),
        ("llama.cpp", "rm '/x/my model.gguf'"),
        ("models.toml", "rm '/x/my model.gguf'"),
        ("built-in", "ships with localserve"),
    ],
)
def test_models_of_others_are_refused_with_the_owner_s_way(
    settings: Settings, source: Source, way: str
) -> None:
    path = Path("/x/my model.gguf")
    found = FoundModel("my model:1b", source, (path,), 1, 0.0, repo="owner/repo")
    with pytest.raises(ModelUnusable, match="is not deleted: it belongs to") as caught:
        remove(found, settings)
    assert way in caught.value.hint


def test_a_file_outside_the_models_folder_is_never_deleted(
    settings: Settings, tmp_path: Path
) -> None:
    outside = write_gguf(tmp_path / "outside.gguf")
    found = FoundModel("a", "localserve", (outside,), 1, 0.0)
    with pytest.raises(ModelUnusable):
        check_removable(found, settings)
    inside = dataclasses.replace(found, files=(settings.models_dir / "a.gguf",))
    check_removable(inside, settings)


def test_a_file_that_is_gone_is_an_error_with_what_was_freed(settings: Settings) -> None:
    path = write_gguf(settings.models_dir / "a.gguf")
    (found,) = own.find(settings.models_dir).models
    path.unlink()
    with pytest.raises(ModelUnusable, match="cannot be deleted: No such file"):
        remove(found, settings)
