"""localserve's own downloads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from localserve.catalog.finders import own
from tests.catalog.gguf_files import write_gguf


def test_downloads_are_found_with_their_repository(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "Qwen" / "Qwen3-8B-GGUF" / "Qwen3-8B-Q4_K_M.gguf", written_at=5.0)
    (found,) = own.find(tmp_path).models
    assert (found.name, found.source, found.repo) == (
        "Qwen3-8B-Q4_K_M",
        "localserve",
        "Qwen/Qwen3-8B-GGUF",
    )
    assert (found.files, found.size_bytes, found.used_at) == ((path,), path.stat().st_size, 5.0)
    assert (found.quantization, found.problem) == ("Q4_K_M", "")


def test_a_file_put_there_by_hand_has_no_repository(tmp_path: Path) -> None:
    write_gguf(tmp_path / "mine.gguf")
    (found,) = own.find(tmp_path).models
    assert (found.name, found.repo) == ("mine", None)


@pytest.mark.skipif(sys.platform != "linux", reason="there such names are refused")
def test_a_name_that_is_no_text_is_shown_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "o" / os.fsdecode(b"r\xff")
    path = write_gguf(folder / os.fsdecode(b"bad-\xff\xfe.gguf"))
    (found,) = own.find(tmp_path).models
    assert (found.name, found.repo, found.path) == ("bad-\ufffd\ufffd", "o/r\ufffd", path)


def test_a_split_model_counts_once_with_all_its_bytes(tmp_path: Path) -> None:
    paths = [
        write_gguf(tmp_path / "o" / "r" / f"big-Q8_0-{n:05}-of-00003.gguf", written_at=n)
        for n in (1, 2, 3)
    ]
    (found,) = own.find(tmp_path).models
    assert (found.name, found.files) == ("big-Q8_0", tuple(paths))
    assert found.size_bytes == 3 * paths[0].stat().st_size
    assert found.used_at == 3.0


def test_missing_shards_are_a_problem(tmp_path: Path) -> None:
    write_gguf(tmp_path / "o" / "r" / "big-00002-of-00003.gguf")
    (found,) = own.find(tmp_path).models
    assert found.problem == "2 of its 3 files are missing"


def test_projectors_and_adapters_are_no_models(tmp_path: Path) -> None:
    write_gguf(tmp_path / "o" / "r" / "mmproj-a.gguf")
    write_gguf(tmp_path / "o" / "r" / "a-mmproj-f16.gguf")
    write_gguf(tmp_path / "o" / "r" / "lora.gguf", {"general.type": "adapter"})
    assert own.find(tmp_path).models == ()


def test_a_damaged_file_is_a_model_with_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(b"<html>")
    (found,) = own.find(tmp_path).models
    assert found.problem.startswith("this is not a GGUF file")


def test_a_cut_download_is_a_model_with_a_problem(tmp_path: Path) -> None:
    folder = tmp_path / "o" / "r"
    folder.mkdir(parents=True)
    partial = folder / "a-Q4_0.gguf.0123456789abcdef.partial"
    partial.write_bytes(b"GGUF1234")
    (found,) = own.find(tmp_path).models
    assert (found.name, found.files, found.size_bytes) == ("a-Q4_0", (partial,), 8)
    assert (found.repo, found.problem) == ("o/r", "its download is not complete")


def test_a_cut_download_of_a_split_model_holds_its_finished_shards(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "o" / "r" / "b-00001-of-00002.gguf")
    second = tmp_path / "o" / "r" / "b-00002-of-00002.gguf.0123456789abcdef.partial"
    second.write_bytes(b"1234")
    (found,) = own.find(tmp_path).models
    assert found.files == (first, second)
    assert found.size_bytes == first.stat().st_size + 4
    assert found.problem == "its download is not complete"


def test_a_folder_that_does_not_exist_has_none(tmp_path: Path) -> None:
    assert own.find(tmp_path / "none") == own.Findings()
