"""Devices, their speed, and the children that tell of them, with the real llama.cpp."""

from __future__ import annotations

import ctypes
import math
import subprocess
import sys
from typing import Any, cast

import pytest

from localserve.llama import bandwidth, child, devices, graphs
from localserve.llama.library import ggml
from localserve.planner.devices import parse_listed
from localserve.planner.processor import our_names
from localserve.planner.readings import Readings


def test_the_cpu_is_a_device_with_memory_and_a_backend() -> None:
    cpu = next(one for one in devices.devices() if one.kind == "cpu")
    assert (cpu.name, cpu.backend) == ("CPU", "CPU")
    assert cpu.total_bytes >= cpu.free_bytes > 0
    assert cpu.description
    assert cpu.device_id is None


def test_backends_and_processor_features_are_named() -> None:
    assert "CPU" in devices.backends()
    assert set(our_names(devices.processor_features())) >= (
        {"AVX"} if "AVX" in devices.processor_features() else set()
    )
    assert all(name.isprintable() for name in devices.processor_features())


def test_the_child_prints_what_the_planner_reads() -> None:
    answer = Readings().ask("localserve.llama.devices", timeout_seconds=60)
    assert answer.problem is None
    assert sorted(answer.document) == ["backends", "devices", "features", "version"]
    names = [device.name for device in parse_listed(answer.document)]
    assert names == [device.name for device in devices.devices()]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs so small that measuring takes milliseconds."""
    sizes = {
        "WIDTH": 256,
        "STREAM_ROWS": 64,
        "PROMPT_ROWS": 64,
        "MORE_PROMPT_ROWS": 128,
        "COLUMNS": 8,
        "REPEATS": 2,
        "OPERATIONS": 4,
        "CELLS": 32,
        "CACHES": 2,
    }
    for name, value in sizes.items():
        monkeypatch.setattr(bandwidth, name, value)
    monkeypatch.setattr(graphs, "RUN_SECONDS", 0.0)


def cpu_index() -> int:
    return [one.kind for one in devices.devices()].index("cpu")


def measured() -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """The rates of the types, and those of the rest of a step."""
    document = cast("dict[str, Any]", bandwidth.measure(cpu_index(), 1, stream_bytes=1 << 20))
    return document["types"], document["steps"]


@pytest.mark.usefixtures("small")
def test_every_type_has_a_rate_of_reading_and_weights_one_of_prompts() -> None:
    types, steps = measured()
    assert list(types) == list(bandwidth.TYPES)
    for name, one in types.items():
        expected = {"decode_bytes_per_second"}
        expected |= {"prompt_flops_per_second"} if name != "F32" else set()
        assert set(one) == expected
        assert all(math.isfinite(rate) and rate > 0 for rate in one.values())
    assert all(math.isfinite(rate) and rate > 0 for rate in steps.values())


@pytest.mark.skipif("REPACK" not in devices.processor_features(), reason="this build repacks not")
def test_weights_may_lie_in_the_buffers_that_llama_cpp_repacks_into() -> None:
    handle = devices.handles()[cpu_index()]
    name = ggml("ggml_backend_buft_name", ctypes.c_char_p, [ctypes.c_void_p])
    assert b"CPU_REPACK" in map(name, graphs._extra_buffer_types(handle))


@pytest.mark.usefixtures("small")
def test_rates_are_bytes_and_operations_by_the_middle_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run takes half a second by a clock of our own: the rest is arithmetic."""
    ticks = iter(range(100_000))
    monkeypatch.setattr("localserve.llama.graphs.time.perf_counter", lambda: next(ticks) * 0.5)
    types, steps = measured()
    matrix_bytes = 256 * 64 * 2
    count = (1 << 20) // matrix_bytes
    assert types["F16"]["decode_bytes_per_second"] == count * matrix_bytes / 0.5
    assert types["F16"]["prompt_flops_per_second"] == 2 * 256 * 64 * 8 / 0.5
    assert types["Q8_0"]["decode_bytes_per_second"] == pytest.approx(
        ((1 << 20) // (64 * 256 // 32 * 34)) * 64 * 256 // 32 * 34 / 0.5
    )
    assert steps["operation_seconds"] == 0.5 / 4
    assert steps["element_bytes_per_second"] == 3 * 4 * 256 * 8 / (0.5 / 2)


@pytest.mark.usefixtures("small")
def test_a_run_that_is_too_short_is_measured_with_more_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graphs.Graphs, "_middle", lambda *_: 0.001)
    types, _ = measured()
    assert types["F16"]["prompt_flops_per_second"] == 2 * 256 * 128 * 8 * 2 / 0.001


def run_child(program: str, *, feed: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """A child of `child.run`; its standard input stays open unless it is fed something."""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    if feed is not None:
        process.stdin.close()
    try:
        status = process.wait(60)
    finally:
        process.kill()
    output, errors = process.stdout.read(), process.stderr.read()
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    return subprocess.CompletedProcess(process.args, status, output, errors)


CHATTY = """
import ctypes, os
from localserve.llama import child
def program(arguments):
    os.write(1, b"a library prints this\\n")
    print("and Python that", flush=True)
    return {"answer": 42}
child.run(program)
"""


def test_a_childs_output_is_its_document_alone() -> None:
    ended = run_child(CHATTY)
    assert (ended.returncode, ended.stdout) == (0, b'{"answer": 42}')
    assert b"a library prints this" in ended.stderr


ABORTING = """
import ctypes
from localserve.llama import child
from localserve.llama.library import ggml
get = ggml("ggml_backend_dev_get", ctypes.c_void_p, [ctypes.c_size_t])
child.run(lambda arguments: get(9999))
"""


def test_an_abort_of_llama_cpp_is_told_in_the_last_line() -> None:
    ended = run_child(ABORTING)
    assert ended.returncode not in (0, 1)
    assert ended.stdout == b""
    assert b"GGML_ASSERT(index <" in ended.stderr.strip().splitlines()[-1]


WAITING = """
import time
from localserve.llama import child
child.run(lambda arguments: time.sleep(600))
"""


def test_a_child_ends_when_nobody_waits_for_it_any_more() -> None:
    assert run_child(WAITING, feed=b"").returncode == child.ORPHANED_STATUS


FAILING = """
from localserve.llama import child
def program(arguments):
    raise RuntimeError("the device has gone")
child.run(program)
"""


def test_a_child_that_fails_says_why() -> None:
    ended = run_child(FAILING)
    assert (ended.returncode, ended.stdout) == (1, b"")
    assert ended.stderr.strip().endswith(b"RuntimeError: the device has gone")
