"""What installing a service does, as values: they can be shown, or carried out.

Blocking; any thread. The system's tools are programs found on PATH, and nothing else is run.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from localserve.errors import LocalserveError

ASK_SECONDS: Final = 20.0
"""For a question. What changes something has no limit: to stop waits for running answers."""


class ServiceFailed(LocalserveError):
    """One of the system's tools refused, or a file could not be written."""

    code: ClassVar[str] = "service_failed"
    description: ClassVar[str] = "The system's service manager refused, or is not there."


@dataclass(frozen=True, slots=True)
class Write:
    """A file that is written as a whole, its folders made; `text` is how people read it."""

    path: Path
    text: str
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Remove:
    """A file that is removed; that it is not there is no fault."""

    path: Path


@dataclass(frozen=True, slots=True)
class Run:
    """A program that is run; with `may_fail` it is no fault that it refuses."""

    command: tuple[str, ...]
    may_fail: bool = False

    @property
    def text(self) -> str:
        return shlex.join(self.command)


Step = Write | Remove | Run


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended: its status and what it printed, both streams together."""

    status: int
    output: str


def carry_out(steps: Iterable[Step]) -> None:
    """Do all of it, in order. Raises: ServiceFailed, and what comes after is left undone."""
    for step in steps:
        match step:
            case Write():
                _write(step)
            case Remove():
                _remove(step.path)
            case Run():
                ended = run(step.command)
                if ended.status != 0 and not step.may_fail:
                    said = ended.output.strip().splitlines()[-1:] or ["it says nothing"]
                    message = f"`{step.text}` failed with status {ended.status}: {said[0]}"
                    raise ServiceFailed(message)


def told(steps: Iterable[Step]) -> Iterator[str]:
    """What would be done, in lines."""
    for step in steps:
        match step:
            case Write():
                yield f"write {step.path}"
                yield from (f"    {line}".rstrip() for line in step.text.splitlines())
            case Remove():
                yield f"remove {step.path}"
            case Run():
                yield f"run {step.text}"


def run(command: tuple[str, ...], timeout_seconds: float | None = None) -> Ended:
    """Run a program to its end. Raises: ServiceFailed, where it is missing or hangs."""
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        message = f"`{shlex.join(command)}` did not end within {timeout_seconds:g} s"
        raise ServiceFailed(message) from None
    except OSError as error:
        raise ServiceFailed(
            f"`{command[0]}` cannot be run: {error.strerror or error}",
            hint="It belongs to the system. Without it, run `localserve up` by hand.",
        ) from None
    return Ended(ended.returncode, ended.stdout.decode("utf-8", "replace"))


def _write(step: Write) -> None:
    path = step.path
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(step.text, encoding=step.encoding, newline="\n")
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise ServiceFailed(
            f"{path} cannot be written: {error.strerror or error}",
            hint="Nothing was changed. `localserve doctor` looks at the disk.",
        ) from None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ServiceFailed(f"{path} cannot be removed: {error.strerror or error}") from None
