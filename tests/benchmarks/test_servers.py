"""Children are started, watched and stopped."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.client import BenchmarkFailed
from benchmarks.make_model import WeightType, make_model
from benchmarks.measure import _enabled
from benchmarks.servers import Process, Server, Settings, raw_loop, restart, running
from benchmarks.shapes import SHAPES, ShapeName


def test_the_raw_loop_answers_again_and_again_and_ends_when_it_is_left(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    make_model(model, SHAPES[ShapeName.TINY], WeightType.F16)

    with raw_loop(Settings(model, 512, 2, 1), sys.executable, tmp_path) as loop:
        rates = [loop.tokens_per_second("ab cd", 8) for _ in range(3)]
        first, done = loop.shared_seconds(["ab cd ef gh", "ab cd kl"], 4)
        assert loop.process.child.poll() is None

    assert all(rate > 0 for rate in rates)
    assert 0 < first < done
    assert loop.process.child.poll() is not None


def test_a_raw_loop_that_cannot_start_says_why(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "missing.gguf", 512, 2, 1)

    with (
        pytest.raises(BenchmarkFailed, match="could not load"),
        raw_loop(settings, sys.executable, tmp_path),
    ):
        pass


def test_a_child_that_died_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    code = "import sys; print('no such model', file=sys.stderr); sys.exit(3)"
    process = Process("peer", [sys.executable, "-c", code], tmp_path / "log")
    process.child.wait(30)

    with pytest.raises(BenchmarkFailed, match=r"(?s)peer ended with status 3.*no such model"):
        process.check_alive()


def test_stopping_ends_a_child_and_its_children(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    process = Process("peer", [sys.executable, "-c", code], tmp_path / "log", pipes=True)
    assert process.child.stdout is not None
    grandchild = int(process.child.stdout.readline())

    process.stop()

    assert process.child.poll() is not None
    for _ in range(300):
        if not _is_alive(grandchild):
            break
        time.sleep(0.1)
    assert not _is_alive(grandchild)


def _is_alive(pid: int) -> bool:
    """A dead process stays as a zombie until its new parent has noticed."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_server_that_was_stopped_can_be_started_again(tmp_path: Path) -> None:
    code = "import os; print(os.environ['MARK'], flush=True); import time; time.sleep(600)"
    environ = {"MARK": "here"}
    process = Process("peer", [sys.executable, "-c", code], tmp_path / "log", environ=environ)
    first = process.child.pid
    process.stop()
    process.start()
    assert process.child.pid != first
    process.check_alive()
    process.stop()


def test_a_server_that_was_not_started_here_is_not_restarted() -> None:
    with pytest.raises(BenchmarkFailed, match="leave out --url"):
        restart(Server("localserve", "http://127.0.0.1:1", "any", process=None))


def test_a_url_where_nothing_answers_is_a_failure() -> None:
    with pytest.raises(BenchmarkFailed, match="nothing that is ready"):
        running("http://127.0.0.1:1/")


def test_the_features_of_a_build_are_those_that_are_switched_on() -> None:
    assert _enabled("CPU : SSE3 = 1 | AVX512 = 0 | FMA = 1 | ") == {"SSE3", "FMA"}
