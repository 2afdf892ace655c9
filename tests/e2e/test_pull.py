"""`localserve pull` as a process: killed, interrupted, twice at once, with the real hub library."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localserve.catalog.registry import SHIPPED_FILE
from tests.catalog.hub_server import Hub, serve_hub

pytestmark = pytest.mark.e2e

WAIT_SECONDS = 60.0
CONTENT = SHIPPED_FILE.with_name("builtin.gguf").read_bytes()
REPO = "owner/tiny-GGUF"
NAME = "tiny-Q4_K_M.gguf"

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories[REPO] = {NAME: CONTENT}
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the model goes."""
    return tmp_path / "home" / "data" / "models" / REPO


@pytest.fixture
def start(hub: Hub, tmp_path: Path) -> Iterator[Start]:
    """Starts `localserve COMMAND...` in a home of its own; ends it if it does not end itself."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "localserve", *arguments],
            env={
                **os.environ,
                "HOME": str(tmp_path),
                "LOCALSERVE_HOME": str(tmp_path / "home"),
                "HF_HOME": str(tmp_path / "hf"),
                "HF_ENDPOINT": hub.url,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _hold_in_the_middle(hub: Hub, folder: Path, size_bytes: int) -> Callable[[], bool]:
    """The file's answer stops after so many bytes; whether they have come is asked for."""
    hub.hold_after_bytes = [len(CONTENT), size_bytes]  # the header comes whole
    return lambda: [path.stat().st_size for path in folder.glob("*.partial")] == [size_bytes]


def _ranges(hub: Hub) -> list[str]:
    return [line.partition(" ")[2] for line in hub.requests if "/resolve/" in line]


def test_after_sigkill_the_same_command_goes_on(hub: Hub, folder: Path, start: Start) -> None:
    in_the_middle = _hold_in_the_middle(hub, folder, 1_500_000)
    killed = start("pull", REPO)
    _wait_until(in_the_middle)
    killed.kill()
    killed.wait(WAIT_SECONDS)
    hub.released.set()
    assert not (folder / NAME).exists()
    listed, _ = start("list", "--json").communicate(timeout=WAIT_SECONDS)
    problems = {model["name"]: model["problem"] for model in json.loads(listed)["models"]}
    assert problems["tiny-Q4_K_M"] == "its download is not complete"
    hub.requests.clear()
    again = start("pull", REPO, "--json")
    out, err = again.communicate(timeout=WAIT_SECONDS)
    assert again.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["path"] == str(folder / NAME)
    assert (folder / NAME).read_bytes() == CONTENT
    assert _ranges(hub) == ["bytes=1500000-"]  # and the header was kept


def test_ctrl_c_keeps_the_part_and_says_how_to_go_on(hub: Hub, folder: Path, start: Start) -> None:
    in_the_middle = _hold_in_the_middle(hub, folder, 1_000_000)
    stopped = start("pull", REPO)
    _wait_until(in_the_middle)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=WAIT_SECONDS)
    assert stopped.returncode == 130
    assert f"Stopped. 1.0 MB of {len(CONTENT) / 1e6:.1f} MB are kept." in err
    assert f"localserve pull {REPO}" in err
    assert "Traceback" not in err
    assert [path.stat().st_size for path in folder.glob("*.partial")] == [1_000_000]


def test_a_second_pull_waits_and_both_succeed(hub: Hub, folder: Path, start: Start) -> None:
    in_the_middle = _hold_in_the_middle(hub, folder, 1_000_000)
    first = start("pull", REPO)
    _wait_until(in_the_middle)
    second = start("pull", REPO)
    assert second.stderr is not None
    assert "another process downloads into" in second.stderr.readline()
    hub.released.set()
    for process in (first, second):
        process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0
    assert (folder / NAME).read_bytes() == CONTENT
    assert len([asked for asked in _ranges(hub) if not asked]) == 1


def test_up_downloads_a_model_that_is_not_here_and_serves_it(
    hub: Hub, folder: Path, start: Start
) -> None:
    serving = start("up", REPO, "--port", "0")
    assert serving.stdout is not None
    lines = []
    for line in serving.stdout:
        lines.append(line)
        if "ready" in line:
            break
    assert any("fits in RAM" in line for line in lines)
    assert "ready" in lines[-1], lines
    assert (folder / NAME).exists()
    serving.send_signal(signal.SIGINT)
    serving.communicate(timeout=WAIT_SECONDS)
    assert serving.returncode == 0


def test_a_file_size_limit_leaves_the_part_and_a_message(
    hub: Hub, folder: Path, start: Start, tmp_path: Path
) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        stopped = start("pull", REPO)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    _, err = stopped.communicate(timeout=WAIT_SECONDS)
    assert stopped.returncode == 1
    assert "holds no file of" in err
    assert [path.stat().st_size for path in folder.glob("*.partial")] == [1 << 20]
    again = start("pull", REPO)
    again.communicate(timeout=WAIT_SECONDS)
    assert again.returncode == 0
    assert (folder / NAME).read_bytes() == CONTENT
