"""The supervisor over workers that need no model."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from localserve.catalog.spec import ModelSpec
from localserve.config import Settings, read_settings
from localserve.server import supervisor
from localserve.server.listeners import Listeners, listen
from localserve.server.reports import Loaded, LoadFailed, Note, Reloaded
from localserve.server.supervisor import (
    Died,
    FellBack,
    Killed,
    Stopping,
    Supervisor,
    Told,
    describe_status,
)
from localserve.testing import fake_spec

ROOT = Path(__file__).parent.parent.parent

T = TypeVar("T")


class Scene:
    """Runs a supervisor over scripted workers, and raises signals when certain things are told."""

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self.settings = settings
        self.listeners = listeners
        self.told: list[Told] = []
        self.cues: list[tuple[Callable[[Told], bool], int]] = []

    def signal_at(self, number: int, cue: Callable[[Told], bool]) -> None:
        """Raise signal `number` the first time that something told fits `cue`; cues in order."""
        self.cues.append((cue, number))

    def run(self, spec: ModelSpec | None = None, fallback: ModelSpec | None = None) -> int:
        return Supervisor(
            self.settings,
            spec or fake_spec(),
            self.listeners,
            self._hear,
            fallback=fallback,
            module="tests.server.scripted_worker",
        ).run()

    def of(self, kind: type[T]) -> list[T]:
        return [one for one in self.told if isinstance(one, kind)]

    @property
    def notes(self) -> list[str]:
        return [note.text for note in self.of(Note)]

    @property
    def pids(self) -> list[int]:
        found = (re.fullmatch(r"pid (\d+)", note) for note in self.notes)
        return [int(match[1]) for match in found if match]

    def _hear(self, told: Told) -> None:
        self.told.append(told)
        if self.cues and self.cues[0][0](told):
            signal.raise_signal(self.cues.pop(0)[1])


def is_loaded(told: Told) -> bool:
    return isinstance(told, Loaded)


def is_note(text: str) -> Callable[[Told], bool]:
    return lambda told: isinstance(told, Note) and told.text == text


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scene]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("LIVES", str(tmp_path / "lives"))
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 0.0)
    listeners = listen("127.0.0.1", 0)
    yield Scene(replace(read_settings(environ={}), drain_seconds=0.0), listeners)
    listeners.close()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda names: monkeypatch.setenv("SCRIPT", names)


Script = Callable[[str], None]


@pytest.mark.skipif(sys.platform == "win32", reason="signals go to no thread there")
def test_a_signal_that_does_not_wake_the_main_thread_is_taken_all_the_same(
    scene: Scene, script: Script
) -> None:
    script("serves")
    other = threading.Timer(1.0, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT))
    last_resort = threading.Timer(30.0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    other.start()
    last_resort.start()
    began = time.monotonic()
    assert scene.run() == 0
    assert time.monotonic() - began < 29.0
    last_resort.cancel()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_worker_and_the_exit_status_is_0(
    scene: Scene, script: Script, number: int
) -> None:
    script("serves")
    scene.signal_at(number, is_loaded)
    assert scene.run() == 0
    assert scene.notes[-1] == "stop"
    assert scene.of(Stopping) == [Stopping(0.0)]
    assert scene.of(Died) == []


def test_no_connection_is_taken_once_it_is_told_to_stop(scene: Scene, script: Script) -> None:
    script("serves")
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((scene.listeners.host, scene.listeners.port))


def test_a_worker_that_does_not_end_is_killed_after_drain_and_grace(
    scene: Scene, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.2)
    script("hangs")
    scene.signal_at(signal.SIGTERM, is_loaded)
    assert scene.run() == 1
    assert scene.of(Killed) == [Killed(0.2)]
    assert not psutil.pid_exists(scene.pids[0])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_at_once_with_a_status_of_its_own(
    scene: Scene, script: Script, number: int, status: int
) -> None:
    script("hangs")
    scene.signal_at(number, is_loaded)
    scene.signal_at(number, is_note("stop"))
    assert scene.run() == status
    assert not psutil.pid_exists(scene.pids[0])


def test_a_worker_that_dies_while_it_drains_makes_the_end_a_failure(
    scene: Scene, script: Script
) -> None:
    script("dies_when_stopped")
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run() == 1
    assert scene.of(Died) == [Died("ended with status 8", "", "end")]


def test_three_workers_that_die_before_they_read_their_arguments_end_it(
    scene: Scene, script: Script
) -> None:
    script("dies_unread dies_unread dies_unread")
    too_large_for_a_pipe = replace(fake_spec(), chat_template="x" * 1_000_000)
    assert scene.run(too_large_for_a_pipe) == 1
    how = "ended with status 7"
    assert scene.of(Died) == [
        Died(how, "", "restart"),
        Died(how, "", "restart"),
        Died(how, "", "give up"),
    ]


def test_a_worker_that_cannot_be_started_counts_as_a_crash(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "WorkerProcess", fail)
    assert scene.run() == 1
    how = "could not be started: Resource temporarily unavailable"
    assert [(died.how, died.then) for died in scene.of(Died)] == [
        (how, "restart"),
        (how, "restart"),
        (how, "give up"),
    ]


def test_a_model_that_was_loaded_begins_the_count_of_crashes_again(
    scene: Scene, script: Script
) -> None:
    script("dies_unread dies_unread dies_before_it_obeys dies_unread dies_unread dies_unread")
    scene.signal_at(signal.SIGHUP, is_loaded)
    assert scene.run() == 1
    assert [died.then for died in scene.of(Died)] == [*["restart"] * 4, "give up"]


def test_a_worker_that_says_why_it_cannot_load_ends_it(scene: Scene, script: Script) -> None:
    script("cannot_load")
    assert scene.run() == 1
    assert scene.of(Died) == []


def test_a_worker_that_cannot_load_what_was_served_before_is_tried_again(
    scene: Scene, script: Script
) -> None:
    script("dies_before_it_obeys cannot_load serves")
    scene.signal_at(signal.SIGHUP, is_loaded)
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run() == 0
    assert [died.then for died in scene.of(Died)] == ["restart", "restart"]


def test_a_model_that_nobody_asked_for_and_that_cannot_be_loaded_is_replaced(
    scene: Scene, script: Script
) -> None:
    script("cannot_load serves")
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run(fake_spec("bad"), fallback=fake_spec("good")) == 0
    assert scene.of(FellBack) == [FellBack("bad", "good")]
    assert [loaded.facts.name for loaded in scene.of(Loaded)] == ["good"]


def test_a_model_that_kills_its_first_worker_is_replaced_at_once(
    scene: Scene, script: Script
) -> None:
    script("dies_unread dies_unread serves")
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run(fake_spec("bad"), fallback=fake_spec("good")) == 0
    kinds = [type(told) for told in scene.told if not isinstance(told, Note)]
    assert kinds == [Died, FellBack, Died, Loaded, Stopping]


def test_the_other_model_is_tried_once(scene: Scene, script: Script) -> None:
    script("cannot_load cannot_load")
    assert scene.run(fake_spec("bad"), fallback=fake_spec("worse")) == 1
    assert [type(told) for told in scene.told] == [LoadFailed, FellBack, LoadFailed]


def test_a_model_that_was_served_is_not_replaced(scene: Scene, script: Script) -> None:
    script("dies_before_it_obeys serves")
    scene.signal_at(signal.SIGHUP, is_loaded)
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run(fake_spec("good"), fallback=fake_spec("other")) == 0
    assert scene.of(FellBack) == []
    assert [loaded.facts.name for loaded in scene.of(Loaded)] == ["good", "good"]


def test_a_reload_waits_for_a_worker_that_is_starting(scene: Scene, script: Script) -> None:
    script("serves")
    scene.signal_at(signal.SIGHUP, is_note("aliases "))
    scene.signal_at(signal.SIGINT, is_note("reload"))
    assert scene.run() == 0
    assert scene.notes[-2:] == ["reload", "stop"]
    assert scene.of(Died) == []


def test_a_replaced_worker_serves_what_was_reloaded_last(scene: Scene, script: Script) -> None:
    script("aborts_after_a_reload serves")
    scene.signal_at(signal.SIGHUP, is_loaded)
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run() == 0
    assert scene.of(Died) == [Died("was killed by SIGABRT", "an assertion", "restart")]
    assert "aliases new" in scene.notes
    assert "reload" not in scene.notes


def test_a_reload_that_a_dying_worker_missed_is_done_by_the_next(
    scene: Scene, script: Script
) -> None:
    script("dies_before_it_obeys serves")
    scene.signal_at(signal.SIGHUP, is_loaded)
    scene.signal_at(signal.SIGINT, lambda told: isinstance(told, Reloaded))
    assert scene.run() == 0
    assert scene.notes[-2:] == ["reload", "stop"]


def test_a_worker_has_few_heaps_large_pages_and_short_spins_unless_the_user_says_otherwise(
    scene: Scene, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    script("tells_its_environment")
    scene.signal_at(signal.SIGINT, is_loaded)
    assert scene.run() == 0
    assert scene.notes[:2] == ["GOMP_SPINCOUNT=7", "MALLOC_ARENA_MAX=2"]
    assert scene.notes[2] == "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"


def test_the_next_worker_serves_what_became_the_default(scene: Scene, script: Script) -> None:
    script("dies_once_another_is_the_default serves")
    scene.signal_at(signal.SIGINT, is_note("aliases another"))
    assert scene.run() == 0


def test_a_signal_between_two_workers_is_obeyed_at_once(
    scene: Scene, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", 600.0)
    script("dies_unread dies_unread")
    scene.signal_at(signal.SIGHUP, lambda told: isinstance(told, Died))
    scene.signal_at(signal.SIGTERM, lambda told: isinstance(told, Died))
    assert scene.run() == 0
    assert len(scene.of(Died)) == 2


def test_signals_are_handled_as_before_when_it_is_over(scene: Scene, script: Script) -> None:
    before = signal.getsignal(signal.SIGINT)
    script("cannot_load")
    scene.run()
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "ended with status 0"), (-11, "was killed by SIGSEGV"), (-99, "was killed by signal 99")],
)
def test_the_way_a_process_ended_is_said_in_words(status: int, words: str) -> None:
    assert describe_status(status) == words
