"""Whether one completion is another one after a few keystrokes: what editors send as people type.

Told by the texts alone, so it is strict: a place to be filled in that has the text of another one
on both sides, but for a few characters that were typed or deleted right before the cursor. Prompts
that merely begin alike, as those of an evaluation do, are never taken for it, and neither are equal
ones, which are asked on purpose. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from localserve.chat import CompletionRequest, InfillRequest

MOST_TYPED_CHARACTERS: Final = 64
"""Between two requests of an editor; more is pasted text, and its first request just goes on."""

MOST_CLOSED_CHARACTERS: Final = 2
"""What editors put behind the cursor by themselves: brackets and quotes."""

LEAST_COMMON_CHARACTERS: Final = 32
"""Two places that have less text in common may be in two files."""

BEFORE_CHARACTERS: Final = 8_192
BEHIND_CHARACTERS: Final = 2_048
"""So much around the cursor is looked at."""

_MARKERS: Final = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<PRE> ", " <SUF>", " <MID>"),
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
)
"""Around prefix and suffix in prompts that clients put together themselves. Source: Continue's
templates, the tokenizers of Qwen Coder, StarCoder, Code Llama and DeepSeek Coder."""

_SUFFIX_FIRST: Final = ("[SUFFIX]", "[PREFIX]")
"""Codestral's."""


@dataclass(frozen=True, slots=True)
class Place:
    """The text on both sides of a cursor, or what of it is near."""

    before: str
    behind: str


def place_of(request: CompletionRequest | InfillRequest) -> Place | None:
    """Where the request asks for text; None where it does not ask for one text in a middle."""
    if request.generation.choices != 1:
        return None
    if isinstance(request, InfillRequest):
        return _near(request.prefix + request.begun, request.suffix)
    if len(request.prompts) != 1:
        return None
    prompt = request.prompts[0]
    if not isinstance(prompt, str):
        return None
    if request.suffix is not None:
        return _near(prompt, request.suffix)
    for begin, hole, end in _MARKERS:
        _, found, rest = prompt.partition(begin)
        before, middle, rest = rest.partition(hole)
        behind, last, _ = rest.partition(end)
        if found and middle and last:
            return _near(before, behind)
    _, found, rest = prompt.partition(_SUFFIX_FIRST[0])
    behind, middle, before = rest.partition(_SUFFIX_FIRST[1])
    return _near(before, behind) if found and middle else None


def typed_on(old: Place, new: Place) -> bool:
    """Whether `new` is where the cursor of `old` is after a few keystrokes."""
    behind = _common_behind(old.behind, new.behind)
    if behind is None:
        return False
    before = max(_common_before(old.before, new.before), _common_before(new.before, old.before))
    return before > 0 and before + behind >= LEAST_COMMON_CHARACTERS


def _near(before: str, behind: str) -> Place:
    return Place(before[-BEFORE_CHARACTERS:], behind[:BEHIND_CHARACTERS])


def _common_before(short: str, long: str) -> int:
    """How many characters both have before what was typed in `long`; 0 where it is not so.

    Editors send a window: its beginning may have moved.
    """
    for typed in range(1, min(MOST_TYPED_CHARACTERS, len(long) - 1) + 1):
        kept = long[:-typed]
        if short.endswith(kept) or kept.endswith(short):
            return min(len(short), len(kept))
    return 0


def _common_behind(one: str, other: str) -> int | None:
    """How many characters both have behind the cursor; None where they are different texts."""
    for closed in range(MOST_CLOSED_CHARACTERS + 1):
        for a, b in ((one[closed:], other), (one, other[closed:])):
            if a.startswith(b) or b.startswith(a):
                return min(len(a), len(b))
    return None
