"""What training must not draw: the wordings and tools that the evaluation asks with."""

from __future__ import annotations

import re

from builtin_model import held_out
from builtin_model.draw import Sample

TOOLS = frozenset(tool.name for tool in held_out.TOOLS) - {"get_weather", "add", "search"}
"""Names that no drawn tool may have. The three others are what most people try first: training
has tools of these names, with other descriptions and requests."""

PLACE = re.compile(r"\{(\w*)\}")
WORDINGS: tuple[str, ...] = (
    *held_out.CAPITAL_WORDINGS,
    *held_out.ADD_WORDINGS,
    *held_out.SUBTRACT_WORDINGS,
    *held_out.COPY_WORDINGS,
    *held_out.JSON_WORDINGS,
    *(asked for asked, _ in held_out.PLAIN),
    *(request for tool in held_out.TOOLS for request in tool.requests),
)


def plain(text: str) -> str:
    """The words and numbers of a text alone, in small letters."""
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def pattern_of(wording: str) -> str:
    """A regular expression for the words of a wording, with anything in its open places."""
    pieces = PLACE.split(wording)
    parts = [re.escape(plain(pieces[0]))]
    for name, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        parts += [r"\d+" if name in ("a", "b") else ".+", re.escape(plain(piece))]
    return rf"\b{' '.join(filter(None, parts))}\b"


HELD_BACK = re.compile("|".join(map(pattern_of, WORDINGS)))


def is_held_back(sample: Sample) -> bool:
    """Whether one of the user's turns, or an offered tool, belongs to the evaluation."""
    asked = [m["content"] for m in sample.before if m["role"] == "user"] + [sample.user]
    offered = {tool.get("function", tool)["name"] for tool in sample.tools}
    return bool(offered & TOOLS) or any(HELD_BACK.search(plain(text)) for text in asked)
