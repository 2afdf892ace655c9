"""What a body of a chat or of a completion asks for. A frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from localserve.dialects.ollama.times import Clock

Request = TypeVar("Request", covariant=True)


@dataclass(frozen=True, slots=True)
class Asked(Generic[Request]):
    """The request and the form of its answer.

    `model` is the name as it was written, which the answer repeats. An `empty` one asks nothing: it
    loads the model, or with a keep-alive of 0 unloads it. With a `clock` the answer says how long
    it took.
    """

    request: Request
    model: str
    stream: bool
    empty: bool
    clock: Clock | None = None

    @property
    def choices(self) -> int:
        """There is always one answer."""
        return 1
