"""`keep_alive`: how long a model stays loaded after its last request.

Seconds as a number, or a duration as Go writes it ("5m", "1h30m", "300ms"); whatever is negative
means 'always'. Pure; any thread.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final

from pydantic import PlainValidator

FOREVER: Final = math.inf

_UNITS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_DURATION: Final = re.compile(rf"([+-]?)((?:{_PART})+)")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_LONGEST_CHARACTERS: Final = 64

LONGEST_SECONDS: Final = 365 * 86_400.0
"""Longer is for ever: timers and dates have their bounds."""


def read_keep_alive(value: Any) -> float | None:
    """Seconds; infinite for 'always', None where nothing was said.

    Raises: ValueError.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = _duration(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(_WRONG)
    return FOREVER if value < 0 or value > LONGEST_SECONDS else float(value)


_WRONG: Final = 'It should be seconds or a duration such as "5m", 0 or -1'

KeepAlive = Annotated[float | None, PlainValidator(read_keep_alive)]


def _duration(text: str) -> float | None:
    """Seconds; None where it is no duration. A bare number is seconds: clients send "-1"."""
    if len(text) > _LONGEST_CHARACTERS:
        return None
    if _NUMBER.fullmatch(text):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, found[2]))
    return -seconds if found[1] == "-" else seconds
