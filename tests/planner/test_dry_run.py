"""Predicted against really taken, by llama.cpp's own count, each in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.planner import usage
from localserve.planner.dry_run import Refused, dry_run
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage

LOAD = """
import json, pathlib, sys
from localserve.llama.model import LlamaModel
from localserve.llama.runner import LlamaRunner
from localserve.planner.runtime import from_document
runtime = from_document(json.loads(sys.argv[2]))
runner = LlamaRunner(LlamaModel(pathlib.Path(sys.argv[1]), runtime), runtime, threads=1)
runner.warm_up()
print(json.dumps(runner.memory().as_document()))
"""
RUNTIME = Runtime(context_tokens=2_048, sequences=8)


def really(path: Path, runtime: Runtime) -> MemoryUsage:
    command = [sys.executable, "-c", LOAD, str(path), json.dumps(runtime.as_document())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return usage.from_document(json.loads(done.stdout))


def hollow(path: Path, folder: Path) -> Path:
    """The file's header with a hole in place of the weights."""
    gguf = pytest.importorskip("gguf")
    begin = gguf.GGUFReader(path).data_offset
    made = folder / "hollow.gguf"
    with path.open("rb") as source, made.open("wb") as target:
        target.write(source.read(begin))
        target.truncate(os.path.getsize(path))
    return made


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
def test_a_header_alone_tells_what_a_load_takes(
    tiny_q4_k_m: Path, tmp_path: Path, cache_type: str
) -> None:
    runtime = replace(RUNTIME, cache_type_k=cache_type, cache_type_v=cache_type)
    (predicted,) = dry_run(hollow(tiny_q4_k_m, tmp_path), [runtime])
    assert predicted == really(tiny_q4_k_m, runtime)


def test_a_window_needs_fewer_cells_than_the_context(window_model: Path) -> None:
    short, long = dry_run(
        window_model, [replace(RUNTIME, context_tokens=tokens) for tokens in (1_024, 8_192)]
    )
    assert isinstance(short, MemoryUsage)
    assert isinstance(long, MemoryUsage)
    assert short.weights_bytes == long.weights_bytes
    assert short.cache_bytes < long.cache_bytes < 8 * short.cache_bytes
    assert long == really(window_model, replace(RUNTIME, context_tokens=8_192))


def test_a_mapped_file_weighs_as_much(tiny_f16: Path) -> None:
    mapped = replace(RUNTIME, load_mode="mmap")
    (predicted,) = dry_run(tiny_f16, [mapped])
    assert isinstance(predicted, MemoryUsage)
    assert predicted.weights_bytes == pytest.approx(
        really(tiny_f16, mapped).weights_bytes, rel=1e-3
    )


def test_what_llama_cpp_refuses_is_a_reason_and_the_rest_is_answered(tmp_path: Path) -> None:
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(b"GGUF" + bytes(range(256)))
    first, second = dry_run(noise, [RUNTIME, RUNTIME])
    assert isinstance(first, Refused)
    assert "noise.gguf" in first.reason
    assert first == second


def test_a_child_that_is_too_slow_is_ended(tiny_f16: Path) -> None:
    (answer,) = dry_run(tiny_f16, [RUNTIME], timeout_seconds=0.01)
    assert answer == Refused("llama.cpp did not answer within 0 s")


def test_a_child_that_dies_is_a_reason(tiny_f16: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localserve.planner.dry_run.PROGRAM", "tests.planner.aborts")
    (answer,) = dry_run(tiny_f16, [RUNTIME])
    assert answer == Refused(
        "llama.cpp gave up on this file (SIGABRT): no such layer", crashed=True
    )
