"""Events of an answer as bytes and back, to the letter. Pure.

    digest of the rest (16) | JSON, compressed

In the JSON a value of a class is a list that begins with the class's number, a tuple one that
begins with "". What was damaged, or written by another layout of the classes, is never taken for an
answer.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from localserve import chat
from localserve.chat import ChatEvent, EmbeddingAnswer

Item = ChatEvent | EmbeddingAnswer
"""What an answer consists of: events, or all vectors at once."""

MOST_BYTES: Final = 8 << 20
"""A larger answer is not kept."""

MOST_TEXT_BYTES: Final = 256 << 20
"""More than that does not become of `MOST_BYTES`, unless somebody made them for that."""

_DIGEST_BYTES: Final = 16

_CLASSES: Final[tuple[type, ...]] = (
    chat.TextDelta,
    chat.ReasoningDelta,
    chat.ToolCallBegun,
    chat.ArgumentsDelta,
    chat.Accepted,
    chat.PromptProgress,
    chat.AnswerProgress,
    chat.Finished,
    chat.Completed,
    chat.Usage,
    chat.Timings,
    chat.TokenLogprob,
    chat.Generation,
    chat.Sampling,
    chat.Report,
    chat.JsonShape,
    chat.RegexShape,
    chat.ChoiceShape,
    chat.GrammarShape,
    chat.EmbeddingAnswer,
)
_NUMBERS: Final = {kind: number for number, kind in enumerate(_CLASSES)}
_FIELDS: Final = {kind: [one.name for one in dataclasses.fields(kind)] for kind in _CLASSES}

LAYOUT: Final = hashlib.sha256(
    repr([(kind.__name__, names) for kind, names in _FIELDS.items()]).encode()
).hexdigest()[:16]
"""Of the classes and their fields; a part of every key."""


class Damaged(Exception):
    """These bytes are not what was written."""


def encode(items: Sequence[Item]) -> bytes:
    """The bytes that `decode` makes the same items of."""
    text = json.dumps([_plain(item) for item in items], separators=(",", ":"))
    packed = zlib.compress(text.encode(), 1)
    return _digest(packed) + packed


def decode(value: bytes) -> list[Item]:
    """The items. Raises: Damaged."""
    digest, packed = value[:_DIGEST_BYTES], value[_DIGEST_BYTES:]
    if _digest(packed) != digest:
        raise Damaged
    try:
        text = zlib.decompressobj().decompress(packed, MOST_TEXT_BYTES)
        return [_revived(item) for item in json.loads(text)]
    except (zlib.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise Damaged from error


def _digest(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=_DIGEST_BYTES).digest()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return ["", *map(_plain, value)]
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    if isinstance(value, np.ndarray):
        raw = np.ascontiguousarray(value, dtype="<f4").tobytes()
        return ["vectors", list(value.shape), base64.b64encode(raw).decode()]
    kind = type(value)
    return [_NUMBERS[kind], *(_plain(getattr(value, name)) for name in _FIELDS[kind])]


def _revived(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, *rest = value
    if kind == "":
        return tuple(map(_revived, rest))
    if kind == "bytes":
        return base64.b64decode(rest[0])
    if kind == "vectors":
        shape, raw = rest
        vectors = np.frombuffer(base64.b64decode(raw), dtype="<f4")
        return vectors.astype(np.float32).reshape(shape)
    return _CLASSES[kind](*map(_revived, rest))


def tokens_of(items: Sequence[Item]) -> int:
    """Of the prompt and of the answer, which whoever finds it kept does not compute."""
    match items[-1] if items else None:
        case chat.Completed(usage):
            return usage.prompt_tokens + usage.completion_tokens
        case EmbeddingAnswer(prompt_tokens=tokens):
            return tokens
        case _:
            return 0
