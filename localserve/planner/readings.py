"""Everything about the machine that is read from outside goes through one object.

Files under /proc and /sys, the system's own tools, psutil, and child programs: tests replace them
by recordings. No reading raises: what cannot be read is None, empty or a problem in one line.
Any thread.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final

import psutil

READ_BYTES = 4 << 20
"""Most that is read of a file or of a child's answer."""

KILL_SECONDS = 2.0
"""How long a killed child is waited for: one that hangs inside a driver cannot even be killed."""

PROBLEM_CHARACTERS = 300

CHILD_ENVIRONMENT: Final = {
    "GOMP_SPINCOUNT": "3000",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""What llama.cpp finds in the process that serves, so that what is measured is the same."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a child program answered: a JSON document, or one line that says why there is none."""

    document: Any = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Amounts:
    """Bytes of memory, swap or disk."""

    total_bytes: int
    free_bytes: int


class Readings:
    """The real machine. `root` is where /proc, /sys, /dev and /etc are looked for."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    @property
    def system(self) -> str:
        """Linux, Darwin or Windows."""
        return platform.system()

    @property
    def architecture(self) -> str:
        """Such as x86_64, arm64 or aarch64."""
        return platform.machine()

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    def text(self, path: str) -> str | None:
        """A file's text, stripped; None where there is none to read. `path` starts with '/'."""
        try:
            with self._at(path).open("rb") as file:
                return file.read(READ_BYTES).decode("utf-8", "replace").strip(" \n\0")
        except OSError:
            return None

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; empty where there is none."""
        try:
            return sorted(os.listdir(self._at(path)))
        except OSError:
            return []

    def link_name(self, path: str) -> str | None:
        """The last part of what a symbolic link points to."""
        try:
            return os.path.basename(os.readlink(self._at(path)))
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        return self._at(path).exists()

    def accessible(self, path: str) -> bool:
        """Whether this process may read and write a file."""
        return os.access(self._at(path), os.R_OK | os.W_OK)

    def which(self, tool: str) -> str | None:
        return shutil.which(tool)

    def has_module(self, name: str) -> bool:
        """Whether this Python has a module."""
        return find_spec(name) is not None

    def command(self, *command: str, timeout_seconds: float = 10.0) -> str | None:
        """What one of the system's tools prints; None where it is missing or fails."""
        if shutil.which(command[0]) is None:
            return None
        ended = _run(command, dict(os.environ), timeout_seconds)
        if ended is None or ended.status != 0:
            return None
        return ended.output.decode("utf-8", "replace").strip()

    def memory(self) -> Amounts:
        """The machine's memory; free is what programs may still have."""
        memory = psutil.virtual_memory()
        return Amounts(memory.total, memory.available)

    def swap(self) -> Amounts:
        try:
            swap = psutil.swap_memory()
        except (OSError, RuntimeError):
            return Amounts(0, 0)
        return Amounts(swap.total, swap.free)

    def disk(self, path: Path) -> Amounts | None:
        """The file system that holds `path`; free is what this user may write."""
        try:
            usage = shutil.disk_usage(path)
        except OSError:
            return None
        return Amounts(usage.total, usage.free)

    def busy_share(self) -> float:
        """The share of all logical processors in use during the next 0.2 s, from 0 to 1."""
        return psutil.cpu_percent(interval=0.2) / 100

    def processors(self) -> int:
        """Logical processors of the machine."""
        return psutil.cpu_count(logical=True) or os.cpu_count() or 1

    def cores(self) -> int:
        """Physical cores of the machine."""
        return psutil.cpu_count(logical=False) or self.processors()

    def allowed_processors(self) -> frozenset[int] | None:
        """The logical processors that this process may use; None where the system has no list."""
        if not hasattr(os, "sched_getaffinity"):
            return None
        return frozenset(os.sched_getaffinity(0))

    def ask(self, module: str, *arguments: str, timeout_seconds: float) -> Answer:
        """Run a module of localserve as a child that prints one JSON document.

        In a child because the driver of a graphics card may hang, or take the process down with
        it. The child's standard input stays open as long as somebody waits for it.
        """
        command = (sys.executable, "-P", "-m", module, *arguments)
        environment = {**CHILD_ENVIRONMENT, **os.environ}
        ended = _run(command, environment, timeout_seconds)
        if ended is None:
            return Answer(problem=f"{module} did not answer within {timeout_seconds:g} s")
        if ended.status != 0:
            return Answer(problem=f"{module} {_death(ended.status)}{_last_words(ended.errors)}")
        try:
            return Answer(json.loads(ended.output))
        except ValueError:
            start = _line(ended.output.decode("utf-8", "replace"))[:60]
            return Answer(problem=f"{module} answered what is not JSON: {start!r}")

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A program that ended: its exit status (negative for a signal) and what it wrote."""

    status: int
    output: bytes
    errors: bytes


def _run(
    command: tuple[str, ...], environment: dict[str, str], timeout_seconds: float
) -> _Ended | None:
    """Run a program to its end; None when it does not end in time.

    It writes to files: a pipe would have to be read until whoever else holds it lets go.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=errors, env=environment
            )
        except OSError as error:
            return _Ended(127, b"", str(error).encode())
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)
        return _Ended(status, _read(output), _read(errors))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no child behind, also when this thread is interrupted."""
    assert process.stdin is not None
    process.stdin.close()
    if process.poll() is None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_SECONDS)


def _read(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(READ_BYTES)


def _death(status: int) -> str:
    if status >= 0:
        return f"failed with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def _last_words(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f": {_line(lines[-1])}" if lines else ""


def _line(text: str) -> str:
    """Text of others as one line: no control characters, and bounded."""
    return re.sub(r"[^\x20-\x7e\xa0-\uffff]+", " ", text).strip()[:PROBLEM_CHARACTERS]
