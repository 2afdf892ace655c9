"""The forms of `logit_bias`: an object or a list of pairs, of tokens or of texts. Any thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from localserve.errors import FieldProblem, InvalidSchema

MAX_BIASES = 1_024
"""In one request."""

MAX_TEXT_CHARACTERS = 1_000
"""Of a text whose tokens are biased."""

LARGEST = 100.0
"""As at OpenAI; -100 forbids a token."""


@dataclass(frozen=True, slots=True)
class Biases:
    """By token, and by texts of which all tokens are meant."""

    tokens: tuple[tuple[int, float], ...] = ()
    texts: tuple[tuple[str, float], ...] = ()


def read_biases(given: object) -> Biases:
    """Read either form; None is none. Keys of an object are ids where they are numbers.

    A bias of `false` forbids the token. Raises: InvalidSchema.
    """
    if given is None:
        return Biases()
    if isinstance(given, dict):
        pairs: Iterable[object] = [[_key(key), bias] for key, bias in given.items()]
        count, names = len(given), [str(key) for key in given]
    elif isinstance(given, list):
        pairs, count, names = given, len(given), [str(index) for index in range(len(given))]
    else:
        raise _wrong("", "Input should be an object or a list of pairs")
    if count > MAX_BIASES:
        raise _wrong("", f"There are {count} biases; at most {MAX_BIASES} are taken")
    tokens: list[tuple[int, float]] = []
    texts: list[tuple[str, float]] = []
    for name, pair in zip(names, pairs, strict=True):
        what, bias = _pair(name, pair)
        if isinstance(what, int):
            tokens.append((what, bias))
        else:
            texts.append((what, bias))
    return Biases(tuple(tokens), tuple(texts))


def _key(key: str) -> int | str:
    return int(key) if key.isascii() and key.isdecimal() and len(key) <= 12 else key


def _pair(name: str, pair: object) -> tuple[int | str, float]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise _wrong(name, "Input should be a pair of a token or text and a bias")
    what, bias = pair
    if isinstance(what, bool) or not isinstance(what, int | str):
        raise _wrong(name, "Input should be the id of a token, or a text")
    if isinstance(what, int) and not 0 <= what < 1 << 31:
        raise _wrong(name, f"There is no token {what}")
    if isinstance(what, str) and len(what) > MAX_TEXT_CHARACTERS:
        raise _wrong(name, f"A text may have {MAX_TEXT_CHARACTERS} characters")
    if bias is False:
        return what, -LARGEST
    if (
        isinstance(bias, bool)
        or not isinstance(bias, int | float)
        or not -LARGEST <= bias <= LARGEST
    ):
        raise _wrong(name, f"Input should be a number from {-LARGEST:g} to {LARGEST:g}, or false")
    return what, float(bias)


def _wrong(place: str, message: str) -> InvalidSchema:
    field = f"logit_bias.{place}" if place else "logit_bias"
    return InvalidSchema((FieldProblem(field, message, "value_error"),))
