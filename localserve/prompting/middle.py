"""A middle to be filled: the texts around it as tokens, in the order that the model was trained on.

Texts are tokenized as nothing but text: what looks like a marker in them is none. What the middle
begins with is the end of the prefix: models were trained on texts that are cut anywhere, not on
middles that have begun. Where texts are too long together, what is far from the middle is left out,
in strides, so that a few more letters do not move the beginning and with it all that was computed.
Other files' texts get a share of their own, for the same reason. Pure; any thread.
Source: arXiv 2207.14255 (fill in the middle), 2409.12186 (repositories).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from localserve.chat import ExtraText, InfillRequest
from localserve.engine.runner import FillMarkers

ANSWER_TOKENS = 512
"""Room that is left for the middle itself, or a quarter of the context where that is less."""

STRIDE_TOKENS = 256

TOKEN_CHARACTERS = 32
"""No text has so many characters for each of its tokens: what is longer cannot fit and is not
tokenized in vain."""

REPOSITORY = "myproject\n"
CURRENT_FILE = "filename\n"
"""Names for what a request does not name, as llama-server has them."""

Tokenize = Callable[[str], list[int]]
"""The tokens of a text that is nothing but text."""


@dataclass(frozen=True, slots=True)
class Middle:
    """A prompt. `left_out` tokens, about, of what was sent are not in it."""

    tokens: tuple[int, ...]
    left_out: int = 0


def middle_prompt(
    request: InfillRequest,
    markers: FillMarkers,
    tokenize: Tokenize,
    *,
    begin: int | None,
    cells: int,
) -> Middle:
    """The prompt of a request, which leaves room for an answer in a context of `cells` tokens, if
    that has any. `begin` is the token that all prompts begin with."""
    room = cells - min(ANSWER_TOKENS, cells // 4)
    extra, extra_left_out = _other_files(request.extra, markers, tokenize, room // 2)
    room = max(0, room - len(extra) - 4)  # three markers and `begin`
    longest = room * TOKEN_CHARACTERS
    whole = request.prefix + request.begun
    prefix, suffix = whole[max(0, len(whole) - longest) :], request.suffix[:longest]
    unread = (len(whole) - len(prefix) + len(request.suffix) - len(suffix)) // 4
    before, behind = tokenize(prefix), tokenize(suffix)
    kept_before, kept_behind = _near(before, behind, room)
    cut = len(before) - len(kept_before) + len(behind) - len(kept_behind)
    head = [*([] if begin is None else [begin]), *extra]
    tokens = (*head, *around(markers, kept_before, kept_behind))
    return Middle(tokens, extra_left_out + unread + cut)


def around(markers: FillMarkers, before: Sequence[int], behind: Sequence[int]) -> list[int]:
    """Prefix and suffix with their markers; the middle follows."""
    prefix, suffix = [markers.prefix, *before], [markers.suffix, *behind]
    middle = [] if markers.middle is None else [markers.middle]
    if markers.suffix_first:
        return [*suffix, *prefix, *middle]
    return [*prefix, *suffix, *middle]


def _near(before: list[int], behind: list[int], room: int) -> tuple[list[int], list[int]]:
    """What fits of both: a quarter for the suffix, the rest for the prefix, and what one does not
    need for the other."""
    if len(before) + len(behind) <= room:
        return before, behind
    behind = behind[: max(room // 4, room - len(before))]
    excess = len(before) - (room - len(behind))
    stride = max(1, min(STRIDE_TOKENS, room // 8))
    cut = -(-excess // stride) * stride if excess > 0 else 0
    return before[cut:], behind


def _other_files(
    extra: Iterable[ExtraText], markers: FillMarkers, tokenize: Tokenize, room: int
) -> tuple[list[int], int]:
    """The texts of other files, the last ones first as far as there is room, in their order; and
    about how many tokens are left out."""
    frame = _frame(markers, tokenize)
    room -= sum(map(len, frame))
    chosen: list[list[int]] = []
    left_out = 0
    full = False
    for one in reversed(tuple(extra)):
        full = full or len(one.text) > room * TOKEN_CHARACTERS
        tokens = [] if full else _file(one, markers, tokenize)
        full = full or len(tokens) > room
        if full:
            left_out += len(tokens) or len(one.text) // 4 or 1
            continue
        room -= len(tokens)
        chosen.append(tokens)
    opening, closing = frame
    return [*opening, *(token for file in reversed(chosen) for token in file), *closing], left_out


def _frame(markers: FillMarkers, tokenize: Tokenize) -> tuple[list[int], list[int]]:
    """What stands before all files, and before the current one."""
    opening, closing = [], []
    if markers.repository is not None:
        opening = [markers.repository, *tokenize(REPOSITORY)]
    if markers.file is not None:
        closing = [markers.file, *tokenize(CURRENT_FILE)]
    return opening, closing


def _file(one: ExtraText, markers: FillMarkers, tokenize: Tokenize) -> list[int]:
    if markers.file is not None:
        return [markers.file, *tokenize(f"{one.filename}\n"), *tokenize(one.text)]
    return tokenize(f"\n\n--- {one.filename} ---\n\n{one.text}")
