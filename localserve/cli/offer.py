"""What `localserve up` offers on a terminal where no model is on the disk: the best one of the
catalog for this machine, downloaded and served while the built-in model answers.

A thread of its own looks, asks, waits and downloads: the server waits for none of it. Nothing is
asked for on the network before the user said yes. No command of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from localserve.catalog.download import Progress, Said, download
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.registry import BUILTIN_NAME, Registry
from localserve.catalog.spec import ModelSpec
from localserve.catalog.wanted import parse_wanted
from localserve.cli.progress import Rate, progress_line
from localserve.cli.terminal import is_terminal, size_text
from localserve.config import Settings
from localserve.errors import LocalserveError
from localserve.planner.default import best_fitting
from localserve.planner.hardware import Hardware, probe
from localserve.planner.plan import Plan
from localserve.planner.pull import propose
from localserve.planner.sizes import memory_text
from localserve.server.reports import Note

LOOK_SECONDS: Final = 0.5
"""How often it is looked whether the server ends, and whether the terminal is ours to read."""

TELL_SECONDS: Final = 0.5
LONGEST_ANSWER_BYTES: Final = 1024
END_SECONDS: Final = 2.0
"""How long the end waits for a download to notice."""


@dataclass(frozen=True, slots=True)
class Question:
    """Something that the user is asked; the answer is a line of the terminal."""

    text: str


@dataclass(frozen=True, slots=True)
class Fetching:
    """A download that is under way; `share` is 0.0 to 1.0."""

    text: str
    share: float


Shown = Note | Question | Fetching


class _Ended(Exception):
    """The server ends."""


def may_offer(named: str | None, spec: ModelSpec, settings: Settings) -> bool:
    """Whether nothing but the built-in model could be served, and somebody is there to ask."""
    unasked = named is None and settings.model is None and spec.name == BUILTIN_NAME
    return unasked and not settings.offline and is_terminal(sys.stdin) and is_terminal(sys.stdout)


class CatalogOffer:
    """The offer, from the look at the machine to the model that is served.

    `show` gets what the user sees. `make_default` has the server load a model by its name, which
    requests that name none get from then on, and returns when they do. Both from its thread.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        show: Callable[[Shown], object],
        make_default: Callable[[str], object],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._show = show
        self._make_default = make_default
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._fetched = Progress(0, 0)
        self._again = ""  # the command that goes on with the download that is under way
        self._thread = threading.Thread(target=self._run, name="offer", daemon=True)

    def begin(self) -> None:
        """Make the offer; returns at once."""
        self._thread.start()

    def server_is_ready(self) -> None:
        """The built-in model answers: from now on the machine may be looked at."""
        self._ready.set()

    def end(self) -> None:
        """The server has ended: ask no more, and stop a download. What has come is kept."""
        self._ended.set()
        self._ready.set()
        if self._again:
            self._thread.join(END_SECONDS)
        if self._again:
            done, total = self._fetched.done_bytes, self._fetched.total_bytes
            kept = f" {size_text(done)} of {size_text(total)} are kept." if done else ""
            self._say(f"The download was stopped.{kept} It goes on with: {self._again}")

    def _run(self) -> None:
        self._ready.wait()
        with contextlib.suppress(_Ended):
            self._check_end()
            try:
                self._offer()
            except LocalserveError as error:
                self._again = ""
                self._show(Note(logging.ERROR, str(error)))

    def _offer(self) -> None:
        hardware = probe(self._settings)
        plan = best_fitting(self._registry, self._settings, hardware)
        if plan is None:
            return
        name = plan.facts.name or plan.facts.file
        self._check_end()
        self._show(Question(offer_text(plan)))
        if not self._agrees():
            self._say(f"Not now. Later: localserve up {name}")
            return
        self._fetch(name, plan.quantization, hardware)
        self._say(f"{name} is here and is being loaded")
        self._make_default(name)
        self._say(f"{name} answers requests that name no model from now on")

    def _fetch(self, name: str, quantization: str, hardware: Hardware) -> None:
        """Download it, unless it has come meanwhile. Raises: ModelUnusable."""
        wanted = parse_wanted(f"{name}:{quantization}", self._registry, self._settings)
        if isinstance(wanted, ModelSpec):
            return
        found = propose(wanted, self._registry, self._settings, hardware, say=self._say)
        if isinstance(found, FoundModel):
            return
        rate, told_at = Rate(), 0.0

        def tell(told: Progress | Said) -> None:
            nonlocal told_at
            self._check_end()
            if isinstance(told, Said):
                return self._say(told.text)
            self._fetched, now = told, time.monotonic()
            rate.add(told.done_bytes, now)
            if now - told_at >= TELL_SECONDS:
                told_at = now
                share = told.done_bytes / max(1, told.total_bytes)
                self._show(Fetching(f"{name}: {progress_line(told, rate)}", share))
            return None

        self._again = f"localserve pull {name}:{quantization}"
        download(found.package, self._settings, tell)
        self._again = ""

    def _agrees(self) -> bool:
        """Whether the next line that is typed says yes. Raises: _Ended."""
        return _read_line(self._check_end).strip().lower() in ("y", "yes")

    def _check_end(self) -> None:
        if self._ended.is_set():
            raise _Ended

    def _say(self, text: str) -> None:
        self._show(Note(logging.INFO, text))


def offer_text(plan: Plan) -> str:
    """The question, with size and verdict."""
    speed = f", about {plan.speed.decode:.0f} tokens per second" if plan.speed else ""
    needed, room = plan.tightest.needed_bytes, plan.tightest.room_bytes
    return (
        f"There is no other model on this disk. {plan.facts.name} ({plan.quantization}), a download"
        f" of {size_text(plan.facts.size_bytes)}, fits this machine: it takes {memory_text(needed)}"
        f" of {memory_text(room)} of {plan.where}{speed}. Download it now and serve it when"
        " it is here? The built-in model answers meanwhile. [y/N]"
    )


def _read_line(check: Callable[[], None]) -> str:
    """A line of the terminal; "" at its end. `check` is called while there is none.

    Reads without Python's buffer, whose lock would hang the end of the process; and only in the
    foreground, because the system stops a whole job that reads in the background.
    """
    while sys.platform != "win32":
        check()
        readable, _, _ = select.select([0], [], [], LOOK_SECONDS)
        if readable and _in_foreground():
            break
        if readable:
            time.sleep(LOOK_SECONDS)
    try:
        return os.read(0, LONGEST_ANSWER_BYTES).decode("utf-8", "replace")
    except OSError:  # the terminal was closed
        return ""


def _in_foreground() -> bool:
    """Whether this job may read the terminal; so may all where it controls no jobs."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True
