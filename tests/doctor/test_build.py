"""llama.cpp's build against the hardware."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from localserve.doctor.build import check_build
from localserve.doctor.subject import Subject
from localserve.planner import mending
from localserve.planner.readings import Answer
from tests.planner.recorded import CPU, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu


@pytest.fixture(autouse=True)
def _installed_from_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "CHECKOUT", tmp_path)


def test_what_it_is_built_for_and_computes_on_is_told(
    subject: Subject, readings: RecordedReadings
) -> None:
    readings.backends, readings.listed = ["CUDA", "CPU"], [listed_gpu(), CPU]
    readings.write("/proc/cpuinfo", "model name : Fast CPU\nflags : avx2 fma f16c")
    built, computes = check_build(subject)
    assert built.message.endswith("built for CUDA, CPU")
    assert computes.message == "computes on NVIDIA GeForce RTX 4090 (CUDA0), Fast CPU"


def test_an_idle_card_comes_with_both_ways_to_use_it(
    subject: Subject, readings: RecordedReadings
) -> None:
    versions = {"driver_version": "580.1", "cuda_version": "13.0", "problems": []}
    readings.nvml = {**NO_NVML, **versions, "gpus": [nvml_gpu()]}
    readings.tools = {"nvcc"}
    idle = list(check_build(subject))[2]
    assert idle.level == "warning"
    compiled, prebuilt = idle.commands
    assert compiled.startswith(f'CMAKE_ARGS="-DGGML_CUDA=on" {sys.executable} -m pip install')
    assert prebuilt.startswith(f"{sys.executable} -m pip install")
    assert prebuilt.endswith("/whl/cu125 llama-cpp-python")
    assert idle.advice


def test_a_library_that_does_not_answer_is_a_problem(
    subject: Subject, readings: RecordedReadings
) -> None:
    answer = Answer(problem="localserve.llama.devices was ended by SIGSEGV")
    readings.answers["localserve.llama.devices"] = answer
    (broken,) = check_build(subject)
    assert broken.level == "problem"
    assert "SIGSEGV" in broken.message
    assert "-DGGML_NATIVE=on" in broken.commands[0]


def test_a_card_that_the_user_hid_is_told_and_no_fault(
    subject: Subject, readings: RecordedReadings
) -> None:
    versions = {"driver_version": "580.1", "cuda_version": "13.0", "problems": []}
    readings.nvml = {**NO_NVML, **versions, "gpus": [nvml_gpu()]}
    readings.backends = ["CUDA", "CPU"]
    readings.environment = {"CUDA_VISIBLE_DEVICES": ""}
    hidden = list(check_build(subject))[2]
    assert (hidden.level, hidden.commands) == ("ok", ("unset CUDA_VISIBLE_DEVICES",))
