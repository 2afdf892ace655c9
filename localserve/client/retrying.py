"""When a request is tried again. Pure but for the random jitter."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRIED_STATUSES = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Retrying:
    """How often and how patiently: at most `attempts` in all.

    Waits grow from `first_delay_seconds` by doubling, up to `most_delay_seconds`, each one chosen
    at random between half of that and all of it, so that clients that failed together do not come
    back together. A server that says when to come back (Retry-After) is obeyed, and what is added
    at random comes on top; if that is longer than `patience_seconds`, its answer stands.
    """

    attempts: int = 4
    first_delay_seconds: float = 0.5
    most_delay_seconds: float = 8.0
    patience_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts is {self.attempts}; the first one counts, so 1 at least")

    def delay_seconds(self, failures: int, retry_after_seconds: float | None) -> float | None:
        """The wait after so many failures in a row; None if it is not to be tried again."""
        if failures >= self.attempts:
            return None
        growing = self.first_delay_seconds * 2.0 ** min(failures - 1, 30)
        delay = min(growing, self.most_delay_seconds) * random.uniform(0.5, 1.0)
        if retry_after_seconds is None:
            return delay
        if retry_after_seconds > self.patience_seconds:
            return None
        return retry_after_seconds + delay * min(1.0, retry_after_seconds / 2)


def parse_retry_after(text: str | None, now: datetime | None = None) -> float | None:
    """Seconds from a header that has seconds or a date; None where it has neither.

    Source: RFC 9110, section 10.2.3.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
