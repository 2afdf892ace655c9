"""A real server process for tests: started as users start it, watched from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import openai
import psutil
import pytest

WAIT_SECONDS = 60.0


class Server:
    """A running `localserve up` (or a variant of it) on a port of its own."""

    def __init__(self, command: list[str], home: Path, environ: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "LOCALSERVE_HOME": str(home),
                "LOCALSERVE_MODEL": "localserve-tiny",  # whatever this machine has
                "PYTHONUNBUFFERED": "1",
                **environ,
            },
            text=True,
            cwd=home,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._silent = False  # nobody who could write to its output is left
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._silent = True
            self._news.notify_all()

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """The first line that matches, waiting for it."""

        def found() -> re.Match[str] | None:
            matches = (re.search(pattern, line) for line in self.lines)
            return next((match for match in matches if match), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._silent, WAIT_SECONDS)
            match = found()
        assert match is not None, f"no line like {pattern!r} in:\n{self.output}"
        return match

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def url(self) -> str:
        return self.wait_for_line(r"ready +(https?://\S+)").group(1)

    @property
    def worker(self) -> psutil.Process:
        """The process that serves; the supervisor's only child."""
        workers = [
            child
            for child in psutil.Process(self.process.pid).children()
            if "worker" in " ".join(child.cmdline())
        ]
        assert len(workers) == 1, workers
        return workers[0]

    def client(self, **options: object) -> openai.OpenAI:
        settings = {"max_retries": 0, "timeout": WAIT_SECONDS, **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", **settings)  # type: ignore[arg-type]

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=WAIT_SECONDS)

    def post(self, path: str, body: object) -> httpx2.Response:
        return httpx2.post(self.url + path, json=body, timeout=WAIT_SECONDS)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def engine(self) -> dict[str, int]:
        """Running and waiting requests, and cells in use, as the health route tells them."""
        engine: dict[str, int] = self.get("/health/ready").json()["engine"]
        return engine

    def wait(self) -> int:
        """Its exit status, once it and its worker are gone and all that they wrote is read."""
        family = self._family()
        try:
            status = self.process.wait(WAIT_SECONDS)
            self._reader.join(WAIT_SECONDS)
            assert self._silent, f"a worker outlived its supervisor:\n{self.output}"
        finally:
            self._end(family)
        return status

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop; returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it and all its processes, whatever they are doing. Harmless when it has ended."""
        self._end(self._family())

    def _family(self) -> list[psutil.Process]:
        if self.process.poll() is not None:
            return []
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def _end(self, family: list[psutil.Process]) -> None:
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self.process.wait()
        self._reader.join(WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def start_one(
        *arguments: str, program: list[str] | None = None, environ: dict[str, str] | None = None
    ) -> Server:
        command = program or [sys.executable, "-m", "localserve", "up", "--port", "0"]
        servers.append(Server([*command, *arguments], tmp_path, environ or {}))
        return servers[-1]

    yield start_one
    for server in servers:
        server.kill()


@contextlib.contextmanager
def serve_with(home: Path, *arguments: str) -> Iterator[Server]:
    """A server for the tests of one module, which leave it as it was."""
    command = [sys.executable, "-m", "localserve", "up", "--port", "0", *arguments]
    one = Server(command, home, {})
    try:
        assert one.url
        yield one
        assert one.stop() == 0, one.output
    finally:
        one.kill()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server on the built-in model, shared by all tests that leave it as it was."""
    command = [sys.executable, "-m", "localserve", "up", "--port", "0"]
    shared = Server(command, tmp_path_factory.mktemp("home"), {})
    assert shared.url
    yield shared
    assert shared.stop() == 0, shared.output
