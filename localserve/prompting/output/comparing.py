"""What two texts that are made of markers have in common, in whole markers. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BROKEN_END = re.compile(r"(<[^<>]*|\[[A-Z_/]+)\Z")
_WHOLE_START = re.compile(r"[<\[]")
_BROKEN_START = re.compile(r"\A[^<\[]*[>\]]")


def shared_start(*texts: str) -> str:
    """How all texts begin, without a marker that the shared part breaks off in."""
    return whole_markers(_raw_shared_start(texts))


def shared_end(one: str, other: str) -> str:
    """How both texts end, without a marker that the shared part begins within."""
    return _BROKEN_START.sub("", _raw_shared_end(one, other))


def shared_last_markers(one: str, other: str) -> str:
    """The whole markers with which both texts end; all of `one` if `other` ends with it."""
    common = _raw_shared_end(one.rstrip(), other.rstrip())
    if common == one.rstrip():
        return common
    found = _WHOLE_START.search(common)
    return common[found.start() :] if found else ""


def whole_markers(text: str) -> str:
    """Text without the marker that it breaks off in."""
    return _BROKEN_END.sub("", text)


def _raw_shared_start(texts: Sequence[str]) -> str:
    length = 0
    for signs in zip(*texts, strict=False):
        if len(set(signs)) > 1:
            break
        length += 1
    return texts[0][:length]


def _raw_shared_end(one: str, other: str) -> str:
    return _raw_shared_start((one[::-1], other[::-1]))[::-1]
