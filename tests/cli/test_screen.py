"""What the terminal shows, and that nothing which befalls it reaches who reports."""

from __future__ import annotations

import errno
import io
import logging
import os
import threading
from dataclasses import replace

import pytest

from localserve.backends.base import Capability
from localserve.cli import sink
from localserve.cli.screen import Screen
from localserve.cli.terminal import Lasting
from localserve.server.reports import Aborting, Answered, Loaded, LoadFailed, LoadProgress, Note
from localserve.server.supervisor import Died, FellBack, Killed, Stopping, Told
from tests.server.scripted_worker import FACTS


class Failing(io.StringIO):
    """A stream behind which there is no room or no reader; `error` None mends it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.error: OSError | None = OSError(number, os.strerror(number))

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)

    def flush(self) -> None:
        if self.error is not None:
            raise self.error


class Stopped(io.StringIO):
    """A terminal that takes nothing until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        assert self.go.wait(20)
        return super().write(text)


def shown(*reports: Told) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    made = Screen("http://127.0.0.1:1", Lasting(out), Lasting(err))
    for report in reports:
        made.show(report)
    assert made.close()
    return out.getvalue(), err.getvalue()


def test_requests_go_to_stdout_and_notes_to_stderr_in_their_order() -> None:
    out, err = shown(
        Answered("GET /[a] 200"), Note(logging.WARNING, "one [b]"), Note(logging.INFO, "two")
    )
    assert out.endswith("GET /[a] 200\n")
    assert err == "one [b]\ntwo\n"


def test_what_ends_a_worker_is_said_in_one_line() -> None:
    assert shown(Killed(20.0))[1] == (
        "error The worker did not end within 20 seconds and was killed.\n"
    )
    assert shown(LoadFailed("It is damaged.", "Take another."))[1] == (
        "error It is damaged. Take another.\n"
    )
    assert "gave up: [x] failed" in shown(Aborting("[x] failed"))[1]


def test_the_end_says_how_long_it_may_take() -> None:
    assert "have 10 seconds to end" in shown(Stopping(10.0))[1]


def test_a_death_says_what_comes_next() -> None:
    again = shown(Died("was killed by SIGABRT", "[x] failed", "restart"))[1]
    assert "The worker was killed by SIGABRT: [x] failed.\n" in again
    assert "started again" in again
    assert "memory" in shown(Died("was killed by SIGKILL", "", "restart"))[1]
    assert "three times" in shown(Died("ended with status 7", "", "give up"))[1]
    assert shown(Died("ended with status 7", "", "end"))[1].count("\n") == 1


def test_a_model_served_instead_of_another_is_named() -> None:
    assert "bad was not named by you" in shown(FellBack("bad", "good"))[1]


def test_progress_is_for_terminals_only() -> None:
    assert shown(LoadProgress("m", 0.5)) == ("", "")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO])
def test_a_stream_that_fails_ends_nothing_and_is_used_again_when_it_works(number: int) -> None:
    out, err = Failing(number), io.StringIO()
    made = Screen("http://127.0.0.1:1", Lasting(out), Lasting(err))
    for line in ("one", "two"):
        made.show(Answered(line))
    made.show(Note(logging.INFO, "still here"))
    assert not made.close()
    assert err.getvalue() == "still here\n"
    out.error = None
    made = Screen("http://127.0.0.1:1", Lasting(out), Lasting(err))
    made.show(Answered("three"))
    assert made.close()
    assert out.getvalue().endswith("three\n")


def test_a_stopped_terminal_stops_nobody_and_what_is_lost_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sink, "QUEUED_REPORTS", 2)
    monkeypatch.setattr(sink, "CLOSE_SECONDS", 0.05)
    out, err = Stopped(), io.StringIO()
    made = Screen("http://127.0.0.1:1", Lasting(out), Lasting(err))
    made.show(Answered("one"))
    assert out.reached.wait(20)
    for line in ("two", "three", "four", "five"):
        made.show(Answered(line))
    assert not made.close()
    monkeypatch.setattr(sink, "CLOSE_SECONDS", 20.0)
    out.go.set()
    assert made.close()
    assert out.getvalue().count("\n") == 3
    assert err.getvalue() == "2 lines were lost: the terminal did not take them\n"


def test_a_model_that_is_loaded_beside_the_default_one_is_one_line() -> None:
    default = Loaded(FACTS, 1.0, 5_000_000)
    other = Loaded(replace(FACTS, name="another"), 2.5, 9_000_000, default=False)
    out, _ = shown(default, other)
    assert out.count("ready") == 1
    *_, last = out.splitlines()
    assert "another is loaded, too, after 2.5 s" in last


@pytest.mark.parametrize(
    ("can", "route", "context"),
    [
        ("completion", "/v1/chat/completions", "up to 4 requests at once"),
        ("embedding", "/v1/embeddings", "each text, up to 4 texts at once"),
        ("rerank", "/v1/rerank", "each text, up to 4 texts at once"),
    ],
)
def test_what_to_try_is_what_the_model_can_do(can: Capability, route: str, context: str) -> None:
    facts = replace(FACTS, capabilities=(can,), parallel=4)
    out, _ = shown(Loaded(facts, 1.0, 1 << 20))
    assert f"curl http://127.0.0.1:1{route} -d '{{" in out
    assert context in out
