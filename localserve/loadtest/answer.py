"""What arrived of one request, taken apart when the load is over: what shares the processor with a
server must not disturb it while it is measured. Pure.

An answer is a stream of OpenAI's chat completions, and what a server sends is not believed to be
one.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

OK: Final = 200
MAX_SHOWN_CHARACTERS: Final = 300
_TEXTS: Final = ("content", "reasoning_content", "reasoning")
"""The fields of a delta that are text; servers differ in the name of reasoning."""

_UNREADABLE: Final = (
    ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError
)  # fmt: skip
"""What JSON of any shape may lead to."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, raw. `reads` are readings of the clock and the bytes that had come by then.

    `broken` says what ended it early; `status` is None where no head came.
    """

    sent: float
    ended: float
    status: int | None
    reads: Sequence[tuple[float, bytes]]
    broken: str | None = None

    @property
    def refused(self) -> bool:
        """Whether it failed, as far as can be told without reading the answer."""
        return self.status != OK or self.broken is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that came to its end. `arrivals` are of the events with text, by the clock."""

    sent: float
    ended: float
    arrivals: tuple[float, ...]
    tokens: int

    @property
    def first_token_seconds(self) -> float:
        return self.arrivals[0] - self.sent

    @property
    def total_seconds(self) -> float:
        return self.ended - self.sent

    def gaps_seconds(self) -> list[float]:
        """The times between two events with text."""
        return [later - earlier for earlier, later in pairwise(self.arrivals)]

    def tokens_until(self, when: float) -> float:
        """How many tokens had come by then; those of an event are its share of all."""
        return self.tokens * bisect_right(self.arrivals, when) / len(self.arrivals)


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without an answer: a short reason, the same for all alike, and the server's words
    (or what else there is to say)."""

    reason: str
    message: str


Outcome = Answer | Failure


def read_exchange(exchange: Exchange) -> Outcome:
    """The answer, or why there is none."""
    if exchange.status is None or exchange.broken is not None:
        return Failure(exchange.broken or "no answer", exchange.broken or "No answer came.")
    if exchange.status != OK:
        return _refusal(exchange.status, b"".join(piece for _, piece in exchange.reads))
    try:
        return _read_stream(exchange)
    except _UNREADABLE:
        return Failure("no stream", "What came is no stream of chat completions.")


def _read_stream(exchange: Exchange) -> Outcome:
    arrivals: list[float] = []
    tokens, finished = 0, False
    for when, data in _events(exchange.reads):
        if data == b"[DONE]":
            finished = True
            continue
        event = json.loads(data)
        if error := event.get("error"):
            return _failure_of(error, "error event")
        for choice in event.get("choices") or ():
            finished = finished or choice.get("finish_reason") is not None
            delta = choice.get("delta") or {}
            if any(delta.get(name) for name in _TEXTS):
                arrivals.append(when)
        if usage := event.get("usage"):
            tokens = max(0, int(usage["completion_tokens"]))
    if not finished:
        return Failure("broken off", "The stream ended before the answer did.")
    if not arrivals:
        return Failure("no text", "The answer had no text.")
    return Answer(exchange.sent, exchange.ended, tuple(arrivals), tokens or len(arrivals))


def _events(reads: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """The data of each event, with the time at which its end had come."""
    rest = b""
    for when, piece in reads:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield when, line.removeprefix(b"data:").strip()


def _refusal(status: int, body: bytes) -> Failure:
    try:
        document = json.loads(body)
        error = document.get("error", document)
        return _failure_of(error, str(status), f"{status} ")
    except _UNREADABLE:
        return Failure(str(status), _shown(body.decode(errors="replace")) or f"Status {status}.")


def _failure_of(error: Any, otherwise: str, before: str = "") -> Failure:
    """What an error says, whose code is the reason."""
    if not isinstance(error, dict):
        return Failure(otherwise, _shown(str(error)))
    code = error.get("code")
    reason = f"{before}{_shown(code)}" if isinstance(code, str) else otherwise
    return Failure(reason, _shown(str(error.get("message") or error)))


def _shown(text: str) -> str:
    return text.strip()[:MAX_SHOWN_CHARACTERS]
