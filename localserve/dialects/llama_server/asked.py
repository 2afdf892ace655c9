"""What a body asks for: the request itself, and what its answer is to tell. A frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from localserve.dialects.llama_server.body import AnswerBody

Request = TypeVar("Request", covariant=True)


@dataclass(frozen=True, slots=True)
class Telling:
    """What an answer is to tell besides its text.

    `fields` are paths of the last object's members, "a/b" for one inside another; None is all.
    """

    stream: bool = False
    tokens: bool = False
    probabilities: int = 0
    progress: bool = False
    timings: bool = False
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Asked(Generic[Request]):
    """`choices` counts the answers."""

    request: Request
    choices: int
    telling: Telling

    @property
    def stream(self) -> bool:
        return self.telling.stream


def telling_of(body: AnswerBody) -> Telling:
    """What the body's fields say of the answer."""
    return Telling(
        stream=bool(body.stream),
        tokens=bool(body.stream or body.return_tokens),
        probabilities=body.probabilities,
        progress=bool(body.return_progress),
        timings=bool(body.timings_per_token),
        fields=tuple(body.response_fields) if body.response_fields else None,
    )
