"""LM Studio's models folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.finders import folders, lm_studio
from tests.catalog.gguf_files import write_gguf


def test_publisher_and_name_are_the_repository(tmp_path: Path) -> None:
    folder = tmp_path / "lmstudio-community" / "gemma-3-4b-it-GGUF"
    path = write_gguf(folder / "gemma-3-4b-it-Q4_K_M.gguf")
    write_gguf(folder / "mmproj-model-f16.gguf")
    (found,) = lm_studio.find(tmp_path).models
    assert (found.name, found.source) == ("gemma-3-4b-it-Q4_K_M", "lm-studio")
    assert (found.repo, found.path) == ("lmstudio-community/gemma-3-4b-it-GGUF", path)


def test_linked_folders_are_followed_and_circles_end(tmp_path: Path) -> None:
    models = tmp_path / "models"
    elsewhere = write_gguf(tmp_path / "disk2" / "r" / "a.gguf").parent.parent
    models.mkdir()
    (models / "publisher").symlink_to(elsewhere)
    (elsewhere / "r" / "circle").symlink_to(models)
    names = {model.name for model in lm_studio.find(models).models}
    assert names == {"a"}


def test_a_folder_that_cannot_be_read_is_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.os, "scandir", refuse)
    assert lm_studio.find(tmp_path).notes == (f"{tmp_path} cannot be read: Permission denied.",)


def test_a_huge_folder_is_left_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MAX_FILES", 3)
    for number in range(5):
        write_gguf(tmp_path / f"m{number}.gguf")
    found = lm_studio.find(tmp_path)
    assert len(found.models) == 3
    assert "more than 3 files" in found.notes[0]


def test_its_home_is_where_its_pointer_says_and_in_the_usual_places(home: Path) -> None:
    usual = (home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models")
    assert lm_studio.usual_folders() == usual
    (home / ".lmstudio-home-pointer").write_text("/elsewhere/lm\n")
    assert lm_studio.usual_folders() == (Path("/elsewhere/lm/models"), *usual)
    (home / ".lmstudio-home-pointer").write_text(str(home / ".lmstudio"))
    assert lm_studio.usual_folders() == usual
