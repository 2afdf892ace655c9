"""Times as people write them: `90m`, `12h`, `30d`, `2027-01-31`. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from localserve.errors import InvalidRequest

_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")


def duration_seconds(text: str, param: str) -> float:
    """`90m` -> 5400.0; 0 needs no unit. Raises: InvalidRequest, naming `param`."""
    if text == "0":
        return 0.0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidRequest(
            f"{text[:40]!r} is no length of time.",
            param=param,
            hint="Write a number and a unit, such as 90m, 12h or 30d.",
        )
    return float(int(match[1]) * _UNIT_SECONDS[match[2]])


def expiry_seconds(text: str, now: float) -> float:
    """The end that a duration or a date means, in seconds since the epoch.

    A date without a time zone is in the local one. Raises: InvalidRequest, also for the past.
    """
    if _DURATION.fullmatch(text):
        end = now + duration_seconds(text, "expires")
    else:
        try:
            end = datetime.fromisoformat(text).astimezone().timestamp()
        except (ValueError, OverflowError, OSError):
            raise InvalidRequest(
                f"{text[:40]!r} is neither a length of time nor a date.",
                param="expires",
                hint="Write 30d, 12h, 2027-01-31 or 2027-01-31T18:00:00Z.",
            ) from None
    if end <= now:
        raise InvalidRequest(f"{text[:40]!r} is not in the future.", param="expires")
    return end
