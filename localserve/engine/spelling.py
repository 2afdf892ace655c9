"""Different token ids that stand for the same text. Pure.

A model may write a text in other tokens than the tokenizer would: the ids of an answer and those of
the same answer sent back within the next prompt differ in places, for the same bytes. Tokens that
mean more than their bytes (control tokens and those that a user defined) stand for themselves only,
however text is spelled that looks like them.
"""

from __future__ import annotations

from collections.abc import Callable

from localserve.engine.prefixes import TokenArray, common_length

Plain = Callable[[int], bytes | None]
"""The bytes of a token that is nothing but text; None for any other."""


def align(held: TokenArray, wanted: TokenArray, plain: Plain) -> tuple[int, int]:
    """The longest beginnings of both that stand for the same text and end with a token each.

    Returns how many tokens they are of `held` and of `wanted`.
    """
    at = common_length(held, wanted)
    ends = at, at
    while further := _next_common_end(held[ends[0] :], wanted[ends[1] :], plain):
        ends = ends[0] + further[0], ends[1] + further[1]
        equal = common_length(held[ends[0] :], wanted[ends[1] :])
        ends = ends[0] + equal, ends[1] + equal
    return ends


def _next_common_end(held: TokenArray, wanted: TokenArray, plain: Plain) -> tuple[int, int] | None:
    """The fewest tokens of both, one or more, that stand for the same bytes; None if there are
    none such."""
    mine = theirs = b""  # bytes that only one of the two has come to so far
    taken, replaced = 0, 0
    while True:
        if not mine:
            if taken == len(held) or not (mine := plain(int(held[taken])) or b""):
                return None
            taken += 1
        if not theirs:
            if replaced == len(wanted) or not (theirs := plain(int(wanted[replaced])) or b""):
                return None
            replaced += 1
        length = min(len(mine), len(theirs))
        if mine[:length] != theirs[:length]:
            return None
        mine, theirs = mine[length:], theirs[length:]
        if not mine and not theirs:
            return taken, replaced
