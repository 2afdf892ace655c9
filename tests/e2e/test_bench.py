"""`localserve bench` against a real server on the built-in model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import WAIT_SECONDS, Start

pytestmark = pytest.mark.e2e


def bench(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "localserve", "bench", "--json", *arguments],
        env={**os.environ, "LOCALSERVE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_answers_have_their_full_length(start: Start, tmp_path: Path) -> None:
    server = start()
    assert server.url
    load = ("--users", "1,2", "--seconds", "0.5", "--prompt-words", "20", "--max-tokens", "9")
    running = bench(tmp_path, *load, "--slo", "error_rate=0,p99_total=600")
    out, err = running.communicate(timeout=WAIT_SECONDS)
    assert (running.returncode, err) == (0, "")
    steps = json.loads(out)["steps"]
    asked = 1 + sum(step["requests"] for step in steps)  # one loads the model
    assert asked >= 4

    def answers() -> list[str]:
        return [line for line in server.lines if "POST /v1/chat/completions 200" in line]

    server.wait_until(lambda: len(answers()) == asked)
    assert [line for line in answers() if "| answer 9 |" not in line] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C there goes to the whole console")
def test_ctrl_c_ends_it_and_its_requests(start: Start, tmp_path: Path) -> None:
    server = start()
    assert server.url
    running = bench(tmp_path, "--users", "1,2", "--seconds", "600", "--max-tokens", "2000")
    server.wait_for_line("/chat/completions 200")
    server.wait_until(lambda: server.engine()["running"] == 1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=WAIT_SECONDS)
    assert running.returncode == 130
    assert "stopped" in err
    assert json.loads(out)["steps"] == []
    server.wait_until(lambda: server.engine()["running"] == 0)
