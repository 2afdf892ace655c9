"""The worker's end of the reports."""

from __future__ import annotations

import errno
import io
import logging
import sys
import threading

import pytest

from localserve.server import reporter
from localserve.server.reporter import Reporter, ReportHandler
from localserve.server.reports import Answered, Note, decode
from localserve.telemetry.request_id import answering


class Pipe(io.BytesIO):
    """Takes nothing until `go` is set, and then fails with `error` if there is one."""

    def __init__(self, error: int | None = None) -> None:
        super().__init__()
        self.error = error
        self.reached = threading.Event()
        self.go = threading.Event()

    def write(self, data: object) -> int:
        self.reached.set()
        assert self.go.wait(20)
        if self.error is not None:
            raise OSError(self.error, "no more")
        return super().write(data)  # type: ignore[arg-type]


def test_reports_are_written_in_their_order() -> None:
    out = io.BytesIO()
    made = Reporter(out)
    made.report(Answered("one"))
    made.report(Answered("two"))
    made.flush(20)
    assert [decode(line) for line in out.getvalue().splitlines()] == [
        Answered("one"),
        Answered("two"),
    ]


def test_a_supervisor_that_does_not_read_stops_nobody_and_the_loss_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporter, "QUEUED_REPORTS", 2)
    out = Pipe()
    made = Reporter(out)
    made.report(Answered("one"))
    assert out.reached.wait(20)
    for line in ("two", "three", "four", "five"):
        made.report(Answered(line))
    out.go.set()
    made.flush(20)
    told = [decode(line) for line in out.getvalue().splitlines()]
    assert told[-1] == Note(logging.WARNING, "2 lines were lost: the terminal did not take them")
    assert len(told) == 4


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE, errno.EIO])
def test_a_pipe_that_fails_ends_nothing(number: int) -> None:
    out = Pipe(number)
    out.go.set()
    made = Reporter(out)
    for _ in range(reporter.QUEUED_REPORTS + 10):
        made.report(Answered("one"))
    made.flush(0.01)


def test_log_records_become_notes_even_when_they_cannot_be_formatted() -> None:
    out = io.BytesIO()
    made = Reporter(out)
    logger = logging.Logger("test")
    logger.addHandler(ReportHandler(made))
    logger.warning("%d apples", 3)
    logger.error("%d apples", "three")
    try:
        raise ValueError("oh")
    except ValueError:
        logger.info("failed", exc_info=sys.exc_info())
    made.flush(20)
    notes = [decode(line) for line in out.getvalue().splitlines()]
    assert notes[:2] == [
        Note(logging.WARNING, "3 apples", "test"),
        Note(logging.ERROR, "%d apples", "test"),
    ]
    assert isinstance(notes[2], Note)
    assert "ValueError: oh" in notes[2].text


def test_notes_say_which_request_they_are_about() -> None:
    out = io.BytesIO()
    made = Reporter(out)
    logger = logging.Logger("test")
    logger.addHandler(ReportHandler(made))
    with answering("req-1"):
        logger.warning("within")
        logger.warning("of others", extra={"request_id": "req-2,req-3"})
    logger.warning("outside")
    made.flush(20)
    notes = [decode(line) for line in out.getvalue().splitlines()]
    ids = [note.request_id for note in notes if isinstance(note, Note)]
    assert ids == ["req-1", "req-2,req-3", ""]
