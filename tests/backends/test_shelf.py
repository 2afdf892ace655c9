"""What a model's prefixes on disk are told apart by."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.backends.shelf import open_shelf, save_seconds
from localserve.config import Settings, read_settings
from localserve.planner.runtime import Runtime

RUNTIME = Runtime(1_024, 8)


def settings_of(tmp_path: Path, **environ: str) -> Settings:
    return read_settings(environ={"LOCALSERVE_HOME": str(tmp_path), **environ})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"header" + bytes(1_000) + b"weights")
    return path


def namespace(
    tmp_path: Path, model: Path, runtime: Runtime = RUNTIME, version: str = "1", name: str = "m"
) -> bytes:
    settings = settings_of(tmp_path)
    shelf = open_shelf(settings, name, model, runtime, version, cuttable=True)
    assert shelf is not None
    shelf.close(0.0)
    return shelf._namespace


def test_files_serve_the_same_model_whatever_it_is_called_or_placed(
    tmp_path: Path, model: Path
) -> None:
    first = namespace(tmp_path, model)
    elsewhere = model.rename(tmp_path / "renamed.gguf")
    placed = replace(RUNTIME, gpu_layers=3, sequences=16, batch_tokens=64, guess_tokens=5)
    assert namespace(tmp_path, elsewhere, placed, name="other") == first


@pytest.mark.parametrize(
    "runtime",
    [
        replace(RUNTIME, context_tokens=2_048),
        replace(RUNTIME, cache_type_k="q8_0"),
        replace(RUNTIME, cache_type_v="q8_0"),
        replace(RUNTIME, flash_attention="on"),
    ],
)
def test_another_way_of_running_it_is_another_model(
    tmp_path: Path, model: Path, runtime: Runtime
) -> None:
    assert namespace(tmp_path, model, runtime) != namespace(tmp_path, model)


def test_another_file_or_another_llama_cpp_is_another_model(tmp_path: Path, model: Path) -> None:
    seen = {namespace(tmp_path, model), namespace(tmp_path, model, version="2")}
    content, stat = bytearray(model.read_bytes()), model.stat()
    for at in (0, -1):
        content[at] ^= 1
        model.write_bytes(content)
        os.utime(model, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        seen.add(namespace(tmp_path, model))
    os.utime(model, ns=(stat.st_mtime_ns, stat.st_mtime_ns + 1))
    seen.add(namespace(tmp_path, model))
    assert len(seen) == 5


def test_it_is_off_where_it_is_switched_off(tmp_path: Path, model: Path) -> None:
    settings = settings_of(tmp_path, LOCALSERVE_PREFIX_DISK_BYTES="0")
    assert open_shelf(settings, "m", model, RUNTIME, "1", cuttable=True) is None
    assert not settings.prefixes_dir.exists()


def test_a_folder_that_cannot_be_used_is_told_of(
    tmp_path: Path, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(tmp_path, LOCALSERVE_PREFIXES_DIR=str(model))
    assert open_shelf(settings, "m", model, RUNTIME, "1", cuttable=True) is None
    assert "will not outlast this server" in caplog.text
    assert "LOCALSERVE_PREFIXES_DIR" in caplog.text


def test_the_end_takes_no_longer_than_the_drain_or_five_seconds(tmp_path: Path) -> None:
    assert save_seconds(None) == 0.0
    for drain, most in (("0", 0.0), ("2", 2.0), ("60", 5.0)):
        settings = settings_of(tmp_path, LOCALSERVE_DRAIN_SECONDS=drain)
        assert save_seconds(settings) == most
