"""What a body asks for: the request itself and the form of its answer. A frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from localserve.dialects.openai.generation import NO_EXTRAS, Extras

Request = TypeVar("Request", covariant=True)


@dataclass(frozen=True, slots=True)
class Asked(Generic[Request]):
    """`choices` counts the answers, `include_usage` asks a stream for a last chunk of counts.
    `extras` are what its chunks tell besides."""

    request: Request
    choices: int
    stream: bool
    include_usage: bool
    extras: Extras = NO_EXTRAS
