"""Who goes first: the urgency and the age of a sequence as one number, and what follows from it.

Each level of urgency is worth a head start: a sequence ranks as if it had come so much earlier. So
what is urgent goes first, and what waits ages: nothing that comes later than a head start after it
goes before it, and the first in rank always gets on. Pure; engine thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Many
from typing import Final

from localserve.chat import Priority
from localserve.engine.sequence import Sequence

HEAD_START_SECONDS: Final[Mapping[Priority, float]] = {
    Priority.BACKGROUND: 0.0,
    Priority.CHAT: 60.0,
    Priority.INTERACTIVE: 70.0,
}
"""A completion goes before chats that came up to 10 seconds before it, a chat before background
work that came up to a minute before it."""


def rank(sequence: Sequence) -> tuple[float, int]:
    """Smaller goes first. It never changes."""
    head_start = HEAD_START_SECONDS[sequence.request.priority]
    return sequence.times.submitted - head_start, sequence.number


def last_in_rank(sequences: Iterable[Sequence]) -> Sequence:
    """Who is paused where not all can go on."""
    return max(sequences, key=rank)


def yielding_to(newcomer: Sequence, running: Iterable[Sequence]) -> list[Sequence]:
    """Who is paused where the newcomer finds no room, the last in rank first: background work, as
    long as it has not aged. A stream that somebody reads never stops for another."""
    if newcomer.request.priority is Priority.BACKGROUND:
        return []
    found = [
        one
        for one in running
        if one.request.priority is Priority.BACKGROUND and rank(one) > rank(newcomer)
    ]
    return sorted(found, key=rank, reverse=True)


def leaves_a_place(newcomer: Sequence, running: Iterable[Sequence], places: int) -> bool:
    """Whether others than background work still find a place at once, where there are several."""
    if newcomer.request.priority is not Priority.BACKGROUND or places == 1:
        return True
    background = sum(one.request.priority is Priority.BACKGROUND for one in running)
    return background < places - 1


def share_out(behind: Many[Sequence], budget: int) -> list[tuple[Sequence, int]]:
    """Split a step's `budget` of prompt tokens: half to the first in rank, so that it never
    starves, the rest to the most urgent, of those the one with the least left first."""
    first = min(behind, key=rank)
    shares = {first.number: min(first.pending, (budget + 1) // 2)}
    left = budget - shares[first.number]
    for sequence in sorted(behind, key=lambda one: (-one.request.priority, one.pending)):
        share = min(sequence.pending - shares.get(sequence.number, 0), left)
        shares[sequence.number] = shares.get(sequence.number, 0) + share
        left -= share
    return [(one, shares[one.number]) for one in behind if shares[one.number] > 0]
