"""What a worker tells its supervisor: a closed union, one JSON line each on the worker's stdout.

The worker prints nothing itself: the supervisor's side owns the terminal. Pure; any thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import TypeAdapter

from localserve.backends.base import ModelFacts
from localserve.catalog.spec import ModelSpec


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
    """A model answers. `memory_bytes` is what the process holds now, `default` says that it is the
    one for requests that name none."""

    facts: ModelFacts
    seconds: float
    memory_bytes: int
    default: bool = True


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The model cannot be loaded; the worker ends."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Reloaded:
    """models.toml was read again; `spec` is what a later worker is to serve."""

    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class DefaultChanged:
    """`spec` is what requests that name no model get now, and what a later worker is to serve."""

    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class Answered:
    """One request, in one line of text; `fields` say the same and more, where programs read it."""

    line: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user should see; `level` is a level of `logging`. `logger` and
    `request_id` say who says it, and answering what; mostly for programs."""

    level: int
    text: str
    logger: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Aborting:
    """llama.cpp is about to abort the worker."""

    reason: str


Report = (
    Live
    | LoadProgress
    | Loaded
    | LoadFailed
    | Reloaded
    | DefaultChanged
    | Answered
    | Note
    | Aborting
)

_KINDS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in get_args(Report)
}


def encode(report: Report) -> bytes:
    """One line, newline included."""
    kind = type(report).__name__
    document = {"kind": kind, **_KINDS[kind].dump_python(report, mode="json")}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Report:
    """The inverse of `encode`. A line that is no report (a stray print) becomes a Note."""
    try:
        document = json.loads(line)
        report: Report = _KINDS[document.pop("kind")].validate_python(document)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Note(20, line.decode("utf-8", "replace").rstrip())
    return report
