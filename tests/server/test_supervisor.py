"""A model that nobody asked for and that cannot be loaded is replaced by the built-in one."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from localserve.config import read_settings
from localserve.server.listeners import listen
from localserve.server.reports import Loaded, LoadFailed
from localserve.server.supervisor import Died, Event, FellBack, Supervisor
from localserve.testing import fake_spec

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers are stopped by signals")


def _supervise(name: str, fallback: str | None) -> tuple[int, list[Event]]:
    """Runs until a model is loaded or the supervisor gives up: its exit status and its events."""
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if isinstance(event, Loaded):
            os.kill(os.getpid(), signal.SIGTERM)

    listeners = listen("127.0.0.1", 0)
    try:
        supervisor = Supervisor(
            read_settings({}, {}),
            fake_spec(name),
            listeners,
            on_event,
            fallback=fake_spec(fallback) if fallback else None,
            module="tests.server.scripted_worker",
        )
        return supervisor.run(), events
    finally:
        listeners.close()


def test_a_model_that_cannot_be_loaded_is_replaced() -> None:
    status, events = _supervise("unusable", "good")
    assert status == 0
    failed, fell_back, loaded = events
    assert isinstance(failed, LoadFailed)
    assert fell_back == FellBack("unusable", "good")
    assert isinstance(loaded, Loaded)
    assert loaded.facts.name == "good"


def test_a_model_that_kills_the_worker_is_replaced_at_once() -> None:
    status, events = _supervise("deadly", "good")
    assert status == 0
    assert [type(event) for event in events] == [Died, FellBack, Loaded]


def test_without_another_model_it_ends() -> None:
    status, events = _supervise("unusable", None)
    assert status == 1
    assert [type(event) for event in events] == [LoadFailed]


def test_the_other_model_is_tried_once() -> None:
    status, events = _supervise("unusable", "unusable")
    assert status == 1
    assert [type(event) for event in events] == [LoadFailed, FellBack, LoadFailed]
