"""A download as people and programs see it: a bar, lines, or JSON. No command of its own."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Final, Protocol

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from localserve.catalog.download import Progress, Said, Tell
from localserve.catalog.filenames import shard_of
from localserve.cli.terminal import console, errors, path_text, plain, size_text
from localserve.planner.pull import Proposal

WINDOW_SECONDS: Final = 10.0
"""The speed is that of the last so many seconds."""

LINE_SECONDS: Final = 10.0
JSON_SECONDS: Final = 0.5


class View(Protocol):
    """How a download is shown."""

    def looking(self, name: str) -> AbstractContextManager[object]:
        """While it is found out what there is; notes come to `say` meanwhile."""

    def say(self, text: str) -> None:
        """A note outside the download itself."""

    def plan(self, proposal: Proposal) -> None:
        """What would be downloaded."""

    def progress(self, proposal: Proposal) -> AbstractContextManager[Tell]:
        """While it is downloaded."""


class Rate:
    """Bytes per second, of what came in the last seconds; what was there before does not count."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, done_bytes: int, now: float) -> None:
        """Note how much is there; less than before means that it started again."""
        if self._seen and done_bytes < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, done_bytes))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def bytes_per_second(self) -> float | None:
        """None as long as nothing can be said."""
        if not self._seen or (seconds := self._seen[-1][0] - self._seen[0][0]) <= 0:
            return None
        return (self._seen[-1][1] - self._seen[0][1]) / seconds

    def seconds_left(self, total_bytes: int) -> float | None:
        rate = self.bytes_per_second
        return (total_bytes - self._seen[-1][1]) / rate if rate else None


class Lines:
    """For a stream that is no terminal: a line every ten seconds."""

    def looking(self, name: str) -> AbstractContextManager[object]:
        return errors.status(plain(f"looking at {name}"))

    def say(self, text: str) -> None:
        errors.print(plain(text), style="yellow")

    def plan(self, proposal: Proposal) -> None:
        for line in describe(proposal):
            console.print(plain(line))

    @contextmanager
    def progress(self, proposal: Proposal) -> Iterator[Tell]:
        rate, last = Rate(), time.monotonic()

        def tell(told: Progress | Said) -> None:
            nonlocal last
            if isinstance(told, Said):
                return self.say(told.text)
            now = time.monotonic()
            rate.add(told.done_bytes, now)
            if now - last >= LINE_SECONDS:
                last = now
                console.print(plain(progress_line(told, rate)))
            return None

        yield _lasting(tell)


class Terminal(Lines):
    """For a terminal: one bar for all files."""

    @contextmanager
    def progress(self, proposal: Proposal) -> Iterator[Tell]:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Bar(*columns, console=console) as shown:
            task = shown.add_task(plain(proposal.package.name).plain, total=None)

            def tell(told: Progress | Said) -> None:
                if isinstance(told, Said):
                    shown.console.print(plain(told.text), style="yellow")
                else:
                    done, total = told.done_bytes, told.total_bytes
                    shown.update(task, completed=done, total=total)

            yield _lasting(tell)


class Json:
    """For programs: an object a line. The last one is the result, or the error."""

    def looking(self, name: str) -> AbstractContextManager[object]:
        return nullcontext()

    def say(self, text: str) -> None:
        emit("note", message=text)

    def plan(self, proposal: Proposal) -> None:
        emit("plan", **plan_document(proposal))

    @contextmanager
    def progress(self, proposal: Proposal) -> Iterator[Tell]:
        rate, last = Rate(), 0.0

        def tell(told: Progress | Said) -> None:
            nonlocal last
            if isinstance(told, Said):
                return self.say(told.text)
            now = time.monotonic()
            rate.add(told.done_bytes, now)
            if now - last >= JSON_SECONDS or told.done_bytes == told.total_bytes:
                last = now
                emit(
                    "progress",
                    done_bytes=told.done_bytes,
                    total_bytes=told.total_bytes,
                    bytes_per_second=rate.bytes_per_second,
                    seconds_left=rate.seconds_left(told.total_bytes),
                )
            return None

        yield _lasting(tell)


def emit(event: str, **members: object) -> None:
    """Print one line of JSON."""
    typer.echo(json.dumps({"event": event, **members}))


def _lasting(tell: Tell) -> Tell:
    """A closed terminal or pipe does not end the download."""

    def tell_if_possible(told: Progress | Said) -> None:
        with suppress(OSError, ValueError):
            tell(told)

    return tell_if_possible


def progress_line(told: Progress, rate: Rate) -> str:
    """Such as '1.2 GB of 5.0 GB (24 %), 35.1 MB/s, 1:48 left'."""
    share = 100 * told.done_bytes // max(1, told.total_bytes)
    text = f"{size_text(told.done_bytes)} of {size_text(told.total_bytes)} ({share} %)"
    if per_second := rate.bytes_per_second:
        text += f", {size_text(int(per_second))}/s"
    if (left := rate.seconds_left(told.total_bytes)) is not None:
        text += f", {duration_text(left)} left"
    return text


def duration_text(seconds: float) -> str:
    """Such as '0:09' or '1:02:30'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def describe(proposal: Proposal) -> Iterator[str]:
    """What would be downloaded, in lines."""
    package, here = proposal.package, proposal.package.bytes_here()
    for file in package.all_files:
        shard = shard_of(file.name)
        if shard is None or shard[0] == 1:
            more = f" and {shard[1] - 1} more files" if shard and shard[1] > 1 else ""
            size = sum(one.size_bytes for one in package.files) if shard else file.size_bytes
            yield f"{file.name}{more}: {size_text(size)} ({size} bytes)"
    yield from (f"  {line}" for line in proposal.why)
    yield f"memory: {proposal.verdict.text}"
    already = f", {size_text(here)} of it are here already" if here else ""
    yield f"disk: {size_text(package.size_bytes)} in {path_text(package.folder)}{already}"


def plan_document(proposal: Proposal) -> dict[str, object]:
    """What would be downloaded, as JSON."""
    package, verdict = proposal.package, proposal.verdict
    return {
        "name": package.name,
        "quantization": package.quantization or None,
        "architecture": proposal.facts.architecture,
        "files": [
            {
                "name": file.name,
                "path": str(package.place_of(file)),
                "size_bytes": file.size_bytes,
                "checksum": file.checksum.digest if file.checksum else None,
            }
            for file in package.all_files
        ],
        "projector": package.projector.name if package.projector else None,
        "size_bytes": package.size_bytes,
        "present_bytes": package.bytes_here(),
        "why": list(proposal.why),
        "memory": {
            "level": verdict.level,
            "needed_bytes": verdict.needed_bytes,
            "free_bytes": verdict.free_bytes,
            "most_bytes": verdict.most_bytes,
            "context_tokens": verdict.context_tokens,
        },
    }
