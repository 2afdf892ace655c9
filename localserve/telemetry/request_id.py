"""The id of the request that is being answered, for whatever runs on its behalf.

Tasks and worker threads that a request starts have it, because they get a copy of its context. An
engine's thread serves many requests at once: there each sequence carries its own. Any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("localserve.request_id", default="")


def current_request_id() -> str:
    """The request that this code runs for; "" where it runs for none."""
    return _current.get()


@contextmanager
def answering(request_id: str) -> Iterator[None]:
    """All that runs in this block, or is started there, runs for that request."""
    before = _current.set(request_id)
    try:
        yield
    finally:
        _current.reset(before)
