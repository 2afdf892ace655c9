"""What befalls the terminal, or the file behind it, ends neither server nor request."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2
import pytest

from tests.e2e.conftest import WAIT_SECONDS

pty = pytest.importorskip("pty", reason="Windows has no such terminals")

pytestmark = pytest.mark.e2e


def full_disk() -> tuple[int, Callable[[], None]]:
    return os.open("/dev/full", os.O_WRONLY), lambda: None


def closed_pipe() -> tuple[int, Callable[[], None]]:
    reader, writer = os.pipe()
    return writer, lambda: os.close(reader)


def closed_terminal() -> tuple[int, Callable[[], None]]:
    """As when a window is closed: a hangup signal, then every write fails."""
    window, terminal = pty.openpty()
    return terminal, lambda: os.close(window)


def unread_pipe() -> tuple[int, Callable[[], None]]:
    """A pager that nobody scrolls: full from the start."""
    _, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    return writer, lambda: None


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def running(
    port: int, output: int, home: Path, *, through: Sequence[str] = (), model: Sequence[str] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(
        [*through, sys.executable, "-m", "localserve", "up", *model, "--port", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, "HOME": str(home), "PYTHONUNBUFFERED": ""},
        cwd=home,
        start_new_session=True,
    )
    os.close(output)
    try:
        yield server
    finally:
        server.kill()  # its worker notices by itself
        server.wait()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/health/ready", timeout=WAIT_SECONDS).status_code == 200:
                return
        time.sleep(0.02)
    raise AssertionError("it was never ready")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("make", [full_disk, closed_pipe, closed_terminal, unread_pipe])
def test_output_that_goes_nowhere_ends_nothing(
    make: Callable[[], tuple[int, Callable[[], None]]], free_port: int, tmp_path: Path
) -> None:
    output, spoil = make()
    url = f"http://127.0.0.1:{free_port}"
    body = {"prompt": "once", "max_tokens": 2}
    named = ["localserve-tiny"] if make is unread_pipe else []  # else it would say what it takes
    with running(free_port, output, tmp_path, model=named) as server:
        wait_until_ready(url)
        spoil()
        if make is closed_terminal:
            server.send_signal(signal.SIGHUP)
        for _ in range(3):
            answer = httpx2.post(f"{url}/v1/completions", json=body, timeout=WAIT_SECONDS)
            assert answer.status_code == 200
        server.send_signal(signal.SIGINT)
        assert server.wait(WAIT_SECONDS) == 0


def test_closed_standard_streams_end_nothing(free_port: int, tmp_path: Path) -> None:
    closed = ("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh")
    url = f"http://127.0.0.1:{free_port}"
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with running(free_port, nowhere, tmp_path, through=closed) as server:
        wait_until_ready(url)
        server.send_signal(signal.SIGINT)
        assert server.wait(WAIT_SECONDS) == 0
