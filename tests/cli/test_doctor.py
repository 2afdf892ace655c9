"""`localserve doctor` and `localserve --version`: what is printed, and the exit status."""

from __future__ import annotations

import json
import re

import pytest

from localserve.cli import doctor as command
from localserve.doctor.finding import Finding
from localserve.planner import build
from localserve.planner.build import Build
from tests.cli.conftest import Run

OK = Finding("environment", "ok", "Python 3.11")
WARNING = Finding("disk", "warning", "little [room]", "Remove models.", ("localserve rm", "df -h"))
PROBLEM = Finding("disk", "problem", "no\x1b[31m room")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What the examination finds."""
    findings = [OK, WARNING]
    monkeypatch.setattr(command, "examine", lambda *_, **__: tuple(findings))
    return findings


def test_people_get_lines_with_what_to_do(run: Run, found: list[Finding]) -> None:
    ran = run("doctor")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "environment",
        "  ok      Python 3.11",
        "disk",
        "  warning little [room]",
        "          Remove models.",
        "          localserve rm",
        "          df -h",
        "",
        "1 warning",
    ]


def test_a_problem_is_the_exit_status_and_no_text_reaches_the_terminal_s_controls(
    run: Run, found: list[Finding]
) -> None:
    found += [PROBLEM, WARNING]
    ran = run("doctor")
    assert (ran.status, ran.out.splitlines()[-1]) == (1, "1 problem, 2 warnings")
    assert "\x1b" not in ran.out


def test_nothing_wrong_is_said(run: Run, found: list[Finding]) -> None:
    found.pop()
    assert run("doctor").out.splitlines()[-1] == "Nothing is wrong."


def test_programs_get_all_of_it(run: Run, found: list[Finding]) -> None:
    found.append(PROBLEM)
    ran = run("doctor", "--json")
    assert ran.status == 1
    document = json.loads(ran.out)
    assert document["level"] == "problem"
    assert document["findings"][0] == {
        "check": "environment",
        "level": "ok",
        "message": "Python 3.11",
        "advice": None,
        "commands": [],
    }
    assert document["findings"][1]["commands"] == ["localserve rm", "df -h"]


def test_lines_are_broken_in_the_terminal_s_width_and_commands_are_not(
    run: Run, found: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.console, "_force_terminal", True)
    monkeypatch.setattr(command.console, "_width", 80)
    long = "word " * 40
    found[:] = [Finding("disk", "warning", long, long, (f"command {long}",))]
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in run("doctor").out.splitlines()]
    too_wide = [line for line in lines if len(line) > 80]
    assert [line.strip()[:7] for line in too_wide] == ["command"]
    assert all(line.startswith(" " * 10) for line in lines[2:-2])


def test_the_version_names_llama_cpp_and_what_it_computes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Build("0.3.36", "0.5.0", "0.25.3", ("CUDA", "CPU"))
    monkeypatch.setattr(build, "installed_build", lambda: found)
    lines = run("--version").out.splitlines()
    assert re.fullmatch(r"localserve \d\S*", lines[0])
    assert lines[1:] == ["llama.cpp 0.5.0 (ggml 0.25.3) of llama-cpp-python 0.3.36, for CUDA, CPU"]


def test_a_missing_llama_cpp_is_said_with_what_helps(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "installed_build", lambda: None)
    assert "localserve doctor" in run("--version").out
