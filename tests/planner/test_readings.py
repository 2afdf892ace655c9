"""Children that hang, crash or talk nonsense, with real processes; files that are not there."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from localserve.planner.readings import CHILD_ENVIRONMENT, PROBLEM_CHARACTERS, Answer, Readings
from localserve.server import process

Ask = Callable[..., Answer]
on_posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Runs a program's text as a child module."""
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)

    def run(program: str, *arguments: str, timeout_seconds: float = 30) -> Answer:
        (tmp_path / "asked_module.py").write_text(textwrap.dedent(program))
        return Readings().ask("asked_module", *arguments, timeout_seconds=timeout_seconds)

    return run


def test_a_child_answers_with_json(ask: Ask) -> None:
    answer = ask("import json, sys; print(json.dumps(sys.argv[1:]))", "a", "b c")
    assert answer == Answer(["a", "b c"])


def test_a_child_that_fails_says_why_in_its_last_line(ask: Ask) -> None:
    answer = ask("raise RuntimeError('libcuda.so.1: no such file')")
    assert answer.document is None
    assert answer.problem == (
        "asked_module failed with status 1: RuntimeError: libcuda.so.1: no such file"
    )


@on_posix
@pytest.mark.parametrize("name", ["SIGABRT", "SIGSEGV", "SIGKILL"])
def test_a_child_that_crashes_is_a_problem_by_the_name_of_its_signal(ask: Ask, name: str) -> None:
    answer = ask("import os, signal, sys; os.kill(os.getpid(), getattr(signal, sys.argv[1]))", name)
    assert answer == Answer(problem=f"asked_module was ended by {name}")


def test_a_child_that_hangs_is_ended(ask: Ask, tmp_path: Path) -> None:
    answer = ask(
        f"""
        import os, pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(tmp_path / "pid")!r}).write_text(str(os.getpid()))
        time.sleep(600)
        """,
        timeout_seconds=1.5,
    )
    assert answer == Answer(problem="asked_module did not answer within 1.5 s")
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


@on_posix
def test_a_grandchild_that_keeps_the_output_open_holds_nobody_up(ask: Ask) -> None:
    answer = ask(
        """
        import os, time
        grandchild = os.fork()
        if grandchild == 0:
            time.sleep(600)
        print(grandchild, flush=True)
        os._exit(0)
        """
    )
    os.kill(answer.document, signal.SIGKILL)  # it still lives


@pytest.mark.parametrize("output", ["", "hello", "{", "[1] [2]", "\x00\xff"])
def test_rubbish_is_a_problem(ask: Ask, output: str) -> None:
    answer = ask(f"print({output!r})")
    assert answer.document is None
    assert answer.problem is not None
    assert answer.problem.startswith("asked_module answered what is not JSON: ")


def test_an_answer_without_end_is_a_problem(ask: Ask) -> None:
    answer = ask("print('[' + '1,' * 3_000_000 + '1]')")
    assert answer.problem is not None
    assert "not JSON" in answer.problem


def test_a_problem_is_one_bounded_line_without_control_characters(ask: Ask) -> None:
    answer = ask("import sys; sys.exit('\\x1b[31mred\\x07 ' + 'x' * 10_000)")
    assert answer.problem is not None
    assert "\x1b" not in answer.problem
    assert "red" in answer.problem
    assert len(answer.problem) < PROBLEM_CHARACTERS + 60


def test_a_module_that_does_not_exist_is_a_problem() -> None:
    answer = Readings().ask("localserve.no_such_module", timeout_seconds=30)
    assert answer.problem is not None
    assert "No module named localserve.no_such_module" in answer.problem


def test_a_child_does_not_import_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert Readings().ask("localserve.planner.nvml", timeout_seconds=30).problem is None


def test_measuring_children_have_the_threads_and_pages_of_the_serving_process() -> None:
    assert CHILD_ENVIRONMENT["GOMP_SPINCOUNT"] == process.BARRIER_SPINS
    assert CHILD_ENVIRONMENT["GLIBC_TUNABLES"] == process.MALLOC_TUNABLES


def test_commands_that_fail_or_are_missing_have_no_output() -> None:
    readings = Readings()
    assert readings.command("no-such-command-anywhere") is None
    assert readings.command(sys.executable, "-c", "print(' out ')") == "out"
    assert readings.command(sys.executable, "-c", "print(1); raise SystemExit(1)") is None
    sleeping = "import time; time.sleep(600)"
    assert readings.command(sys.executable, "-c", sleeping, timeout_seconds=0.5) is None


def test_what_cannot_be_read_is_none_or_empty(tmp_path: Path) -> None:
    readings = Readings(tmp_path)
    (tmp_path / "there").write_text("text \n\0")
    assert readings.text("/there") == "text"
    assert readings.text("/missing") is None
    assert readings.text("/") is None
    assert readings.names("/missing") == []
    assert readings.names("/") == ["there"]
    assert readings.link_name("/there") is None
    assert readings.disk(tmp_path / "missing") is None
    assert not readings.exists("/missing")


def test_the_real_machine_has_processors_memory_and_a_disk() -> None:
    readings = Readings()
    assert readings.processors() >= readings.cores() >= 1
    assert 0 < readings.memory().free_bytes <= readings.memory().total_bytes
    disk = readings.disk(Path(__file__).parent)
    assert disk is not None
    assert disk.total_bytes > 0


@on_posix
def test_an_interrupted_ask_leaves_no_child(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "pid"
    program = f"""
        import os, pathlib, signal, time
        pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(600)
        """
    with pytest.raises(KeyboardInterrupt):
        ask(program)
    assert not psutil.pid_exists(int(pid_file.read_text()))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
