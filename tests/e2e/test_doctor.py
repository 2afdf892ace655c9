"""`localserve doctor` beside a real server and a library that dies; the service's own command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import WAIT_SECONDS, Start
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e


def localserve(home: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localserve", *arguments],
        env={**os.environ, "LOCALSERVE_HOME": str(home), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_SECONDS,
    )


def examined(home: Path, **environ: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """The exit status, and the findings by check."""
    ended = localserve(home, "doctor", "--offline", "--json", LOCALSERVE_PORT="0", **environ)
    found: dict[str, list[dict[str, Any]]] = {}
    for one in json.loads(ended.stdout)["findings"]:
        found.setdefault(one["check"], []).append(one)
    return ended.returncode, found


def test_a_server_that_runs_is_found_ready(start: Start, tmp_path: Path) -> None:
    url = start().url
    _, found = examined(tmp_path)
    (server,) = found["servers"]
    assert (server["level"], "is ready" in server["message"]) == ("ok", True)
    assert url.rpartition(":")[2] in server["message"]
    assert found["llama.cpp"][0]["level"] == "ok"
    assert "built for" in found["llama.cpp"][0]["message"]
    assert not [one for ones in found.values() for one in ones if "failed itself" in one["message"]]


def test_a_llama_cpp_that_takes_its_process_down_is_a_line_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken" / "llama_cpp"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("import os\nos.abort()\n")
    paths = f"{broken.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    status, found = examined(tmp_path, PYTHONPATH=paths)
    (problem,) = found["llama.cpp"]
    assert (status, problem["level"]) == (1, "problem")
    assert "SIGABRT" in problem["message"]
    assert problem["commands"]
    assert len(found) == 8


def test_on_a_terminal_lines_are_as_wide_as_it_is(tmp_path: Path) -> None:
    terminal = Terminal(
        [sys.executable, "-m", "localserve", "doctor", "--offline"],
        {**os.environ, "LOCALSERVE_HOME": str(tmp_path), "COLUMNS": "80", "TERM": "xterm"},
    )
    try:
        terminal.wait_for(r"servers\s+ok +none runs")
        terminal.wait()
        lines = terminal.text.split("environment", 1)[1].splitlines()
        words = [line.split() for line in lines if len(line.rstrip()) > 80]
        assert [line for line in words if len(line) > 2] == []  # a path is never broken
    finally:
        terminal.kill()


def test_what_the_service_would_run_serves_and_ends_as_its_manager_ends_it(
    start: Start, tmp_path: Path
) -> None:
    told = localserve(tmp_path, "service", "install", "--dry-run", "--", "--port", "0").stdout
    if "ExecStart=" not in told:
        pytest.skip("this system has no systemd")
    (line,) = (one.strip() for one in told.splitlines() if "ExecStart=" in one)
    server = start(program=shlex.split(line.removeprefix("ExecStart=")))
    assert server.get("/health/ready").status_code == 200
    assert server.stop(signal.SIGTERM) == 0
