"""Times as Ollama writes them: durations in nanoseconds, dates by RFC 3339. Pure; any thread."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Protocol

NEVER: Final = "2318-01-01T00:00:00Z"
"""When a model expires that stays loaded: three centuries on, as Ollama has it."""


class Clock(Protocol):
    """What is measured of a request, read when its answer is complete."""

    @property
    def elapsed_ms(self) -> float:
        """The time since it came."""
        ...

    @property
    def load_ms(self) -> float:
        """How long it waited for its model."""
        ...


def nanoseconds(milliseconds: float) -> int:
    """At least 1: clients divide by it."""
    return max(1, round(milliseconds * 1e6))


def date_text(seconds: float) -> str:
    """A date, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def now_text() -> str:
    """The date and time."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
