"""What a worker tells its supervisor: a closed union, one JSON line each on the worker's stdout.

The worker prints nothing itself: the supervisor's side owns the terminal.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from localserve.backends.base import ModelFacts


@dataclass(frozen=True, slots=True)
class Live:
    """HTTP is answered; the model may still be loading."""


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """`share` of the model is loaded, 0.0 to 1.0."""

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model answers. `memory_bytes` is what the process holds now."""

    facts: ModelFacts
    seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model cannot be loaded; the worker ends."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Answered:
    """One request, in one line of text."""

    line: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user should see; `level` is a level of `logging`."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Aborting:
    """llama.cpp is about to abort the worker."""

    reason: str


Report = Live | LoadProgress | Loaded | LoadFailed | Answered | Note | Aborting

_KINDS: dict[str, type[Report]] = {
    kind.__name__: kind
    for kind in (Live, LoadProgress, Loaded, LoadFailed, Answered, Note, Aborting)
}


def encode(report: Report) -> bytes:
    """One line, newline included."""
    document = {"kind": type(report).__name__, **dataclasses.asdict(report)}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Report:
    """The inverse of `encode`. A line that is no report (a stray print) becomes a Note."""
    try:
        document = json.loads(line)
        kind = _KINDS[document.pop("kind")]
        if kind is Loaded:
            facts = document["facts"]
            document["facts"] = ModelFacts(**{**facts, "aliases": tuple(facts["aliases"])})
        return kind(**document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Note(20, line.decode("utf-8", "replace").rstrip())
