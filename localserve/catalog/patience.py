"""How often and after what time a failed fetch is tried again. Blocking; one thread at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING, Final

from localserve.catalog.web import Busy

if TYPE_CHECKING:
    import httpx2

TRIES: Final = 6
"""Failures in a row, none of which brought anything, before one of a download is passed on."""

QUESTION_TRIES: Final = 3
"""The same for what is asked before a download: nothing is lost yet, and somebody waits."""

FIRST_SECONDS: Final = 1.0
LONGEST_SECONDS: Final = 30.0
LONGEST_ASKED_SECONDS: Final = 300.0
"""A server that asks for more patience than this is not waited for."""


class Patience:
    """Counts the failures of one file. `say` is told each wait in a line."""

    def __init__(
        self, say: Callable[[str], object] = lambda text: None, *, tries: int = QUESTION_TRIES
    ) -> None:
        self._say = say
        self._tries = tries
        self._failures = 0

    def wait(self, error: httpx2.TransportError | Busy, *, fruitful: bool = False) -> None:
        """Wait before the next try; twice as long after each failure that brought nothing.

        Raises: the error (of a Busy one its refusal), when the tries are used up or the server
        asks for too much time.
        """
        self._failures = 1 if fruitful else self._failures + 1
        asked = error.after_seconds if isinstance(error, Busy) else None
        if self._failures >= self._tries or (asked or 0) > LONGEST_ASKED_SECONDS:
            raise error.refusal if isinstance(error, Busy) else error
        seconds = asked
        if seconds is None:
            seconds = min(FIRST_SECONDS * 2 ** (self._failures - 1), LONGEST_SECONDS)
            seconds *= 1 + random.random() / 4  # not all at once, where many were cut off
        self._say(f"{_what(error)}; trying again in {seconds:.0f} s")
        sleep(seconds)


def _what(error: httpx2.TransportError | Busy) -> str:
    if not isinstance(error, Busy):
        return f"the connection failed ({error or type(error).__name__})"
    if error.status == 429:
        return "the server has too many requests (HTTP 429)"
    return f"the server cannot answer now (HTTP {error.status})"
