"""What a chat template may know of the time: a whole day, so that prompts of one day share their
prefix. Pure; any thread."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Final

from localserve.prompting.turns import Variables


def moment(day: date) -> Variables:
    """The variables that tell a template the day: the names that transformers, Llama's and
    firefunction's templates read."""
    start = datetime.combine(day, time())
    return {
        "strftime_now": start.strftime,
        "date_string": start.strftime("%d %b %Y"),
        "datetime": start.strftime("%b %d %Y"),
    }


_NAMES: Final = frozenset(moment(date(2000, 1, 1)))


def tells_day(template: str) -> bool:
    """Whether prompts of this Jinja text may change with the day: it names what would tell it."""
    return any(name in template for name in _NAMES)
