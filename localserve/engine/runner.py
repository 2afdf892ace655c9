"""What the engine needs of whatever computes: three protocols, and the data that crosses them.

The engine is written against these alone, so it knows no llama.cpp, and its tests load no shared
library. All of `Runner` but `interrupt` is called on the engine thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from localserve.chat import Sampling


@dataclass(frozen=True, slots=True)
class TokenChunk:
    """A part of a prompt given as token ids."""

    tokens: tuple[int, ...]


Prompt = tuple[TokenChunk, ...]
"""A prompt is a list of chunks; other kinds of chunk (embeddings of images) can join the union."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token id with its natural-log probability before any sampling filter."""

    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """The chosen token. `score` and `top` are there when log probabilities were asked for."""

    token: int
    score: TokenScore | None = None
    top: tuple[TokenScore, ...] = ()


Steer = Callable[[int], int]
"""From the token that was chosen to the one that takes its place; called once for each."""


class Sampler(Protocol):
    """Chooses tokens for one sequence; keeps its random state and history between calls."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive tokens of one sequence, to be computed in one step.

    `start` is the position of the first. With a `sampler`, the logits after the last token choose
    the next one.
    """

    slot: int
    start: int
    tokens: Sequence[int]
    sampler: Sampler | None


class NoCells(Exception):
    """The runner found no room in its memory for the batch; nothing was computed."""


class Interrupted(Exception):
    """The step was interrupted; nothing was computed."""


class DecodeFailed(Exception):
    """The batch could not be computed; the slots it used are to be cleared."""


class Vocabulary(Protocol):
    """Text to tokens and back. Safe on any thread."""

    @property
    def size(self) -> int: ...

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    def piece(self, token: int) -> bytes:
        """The bytes that the token adds to the answer's text (control tokens add none)."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends an answer."""
        ...


class Memory(Protocol):
    """The cells of the slots: what was computed of which sequence."""

    @property
    def cells(self) -> int:
        """Tokens that can be held in all, over all slots."""
        ...

    @property
    def slots(self) -> int:
        """How many sequences can be held at once."""
        ...

    def truncate(self, slot: int, length: int) -> int:
        """Forget what lies behind the first `length` tokens; returns how many are left.

        That is `length` where the model's memory can be cut there, else 0: the slot is empty then.
        """
        ...

    def share(self, source: int, target: int, length: int) -> int:
        """Let the empty slot `target` begin with the first `length` tokens of `source`.

        Returns `length`, or 0 where the model's memory cannot do that.
        """
        ...


class Runner(Memory, Protocol):
    """Computes batches. Created, used and closed on the engine thread."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def batch_tokens(self) -> int:
        """The most tokens that one step may compute."""
        ...

    def make_sampler(
        self,
        sampling: Sampling,
        *,
        history: Sequence[int],
        top_logprobs: int | None,
        ignore_end: bool,
        steer: Steer | None = None,
    ) -> Sampler:
        """A sampler for one sequence; `history` is its prompt. `sampling` has no None but `seed`.

        `ignore_end` bans the tokens that end an answer. `steer` has the last word on each token.
        """
        ...

    def run(self, batch: Sequence[Slice]) -> list[Sampled | None]:
        """Compute the batch and sample; one result per slice, None for those without a sampler.

        Raises: NoCells, Interrupted, DecodeFailed.
        """
        ...

    def interrupt(self) -> None:
        """Make a running `run` raise Interrupted soon. From any thread; harmless when late."""
        ...

    def close(self) -> None: ...
