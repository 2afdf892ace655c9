"""llama.cpp's cache, in its old and its new layout."""

from __future__ import annotations

from pathlib import Path

from localserve.catalog.finders import llama_cpp
from tests.catalog.gguf_files import write_gguf


def test_files_side_by_side_are_found(tmp_path: Path) -> None:
    write_gguf(tmp_path / "ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M.gguf")
    (tmp_path / "ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M.gguf.json").write_text("{}")
    (tmp_path / "manifest=ggml-org=gemma-3-1b-it-GGUF=latest.json").write_text("{}")
    (tmp_path / "x.gguf.downloadInProgress").write_text("")
    write_gguf(tmp_path / "rpc" / "deeper.gguf")
    (found,) = llama_cpp.find(tmp_path).models
    assert found.name == "ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M"
    assert (found.source, found.repo, found.quantization) == ("llama.cpp", None, "Q4_K_M")


def test_the_layout_of_the_hugging_face_cache_is_understood(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "models--o--r" / "snapshots" / "a" / "m-Q4_0.gguf")
    (found,) = llama_cpp.find(tmp_path).models
    assert (found.source, found.repo, found.path) == ("llama.cpp", "o/r", path)
