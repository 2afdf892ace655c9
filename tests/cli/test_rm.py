"""`localserve rm`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localserve.config import Settings
from tests.catalog.gguf_files import write_gguf
from tests.cli.conftest import Run


@pytest.fixture
def path(settings: Settings) -> Path:
    return write_gguf(settings.models_dir / "Qwen" / "Qwen3-8B-GGUF" / "Qwen3-8B-Q4_K_M.gguf")


def test_without_a_terminal_it_needs_yes(run: Run, path: Path) -> None:
    ran = run("rm", "qwen3-8b")
    assert ran.status == 1
    assert "Add --yes" in ran.err
    assert path.exists()


def test_with_yes_it_deletes_and_says_what_is_free_again(run: Run, path: Path) -> None:
    size_bytes = path.stat().st_size
    ran = run("rm", "qwen3-8b", "--yes")
    assert ran.status == 0
    assert f"({size_bytes} bytes) are free again" in ran.out
    assert not path.exists()


@pytest.mark.parametrize(("answer", "deleted"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_on_a_terminal_it_asks(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, deleted: bool
) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ran = run("rm", "Qwen3-8B-Q4_K_M")
    assert "Delete Qwen3-8B-Q4_K_M" in ran.out
    assert ran.status == (0 if deleted else 1)
    assert path.exists() is not deleted


def test_a_name_that_means_two_downloads_deletes_neither(run: Run, path: Path) -> None:
    other = write_gguf(path.with_name("Qwen3-8B-Q8_0.gguf"))
    for name in ("qwen3-8b", "Qwen/Qwen3-8B-GGUF"):
        ran = run("rm", name, "--yes")
        assert ran.status == 1
        assert "Qwen3-8B-Q4_K_M" in ran.err
        assert "Qwen3-8B-Q8_0" in ran.err
    assert path.exists()
    assert other.exists()


def test_the_beginning_of_a_name_is_not_enough(run: Run, path: Path) -> None:
    assert run("rm", "qwen3-8b-q4", "--yes").status == 1
    assert path.exists()


def test_of_one_name_in_two_places_localserve_s_own_is_meant(
    run: Run, path: Path, settings: Settings
) -> None:
    assert settings.lm_studio_models_dir is not None
    other = write_gguf(settings.lm_studio_models_dir / "o" / "r" / path.name)
    assert run("rm", "Qwen3-8B-Q4_K_M", "--yes").status == 0
    assert (path.exists(), other.exists()) == (False, True)
    ran = run("rm", "Qwen3-8B-Q4_K_M", "--yes")
    assert ran.status == 1
    assert "LM Studio, under My Models" in ran.err
    assert other.exists()


def test_what_is_not_there_cannot_be_deleted(run: Run, settings: Settings) -> None:
    assert "nothing to delete" in run("rm", "qwen3-8b", "--yes").err
    assert "does not exist" in run("rm", "nobody", "--yes").err
    assert "ships with localserve" in run("rm", "tiny", "--yes").err


def test_a_cut_download_can_be_deleted(run: Run, settings: Settings) -> None:
    folder = settings.models_dir / "Qwen" / "Qwen3-8B-GGUF"
    folder.mkdir(parents=True)
    (folder / "Qwen3-8B-Q4_K_M.gguf.0123456789abcdef.partial").write_bytes(b"1234")
    assert run("rm", "qwen3-8b", "--yes").status == 0
    assert not folder.exists()
