"""What the engine needs of whatever computes: protocols, and the data that crosses them.

The engine is written against these alone, so it knows no llama.cpp, and its tests load no shared
library. All of `Runner` but `interrupt` is called on the engine thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from localserve.chat import Sampling
from localserve.engine.constraint import Constraint


@dataclass(frozen=True, slots=True)
class TokenChunk:
    """A part of a prompt given as token ids."""

    tokens: tuple[int, ...]


Bytes = npt.NDArray[np.uint8]
"""Shape (size,)."""

Prompt = tuple[TokenChunk, ...]
"""A prompt is a list of chunks; other kinds of chunk (embeddings of images) can join the union."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token id with its natural-log probability before any sampling filter."""

    token: int
    logprob: float


@dataclass(frozen=True, slots=True)
class Sampled:
    """The chosen token. `score` and `top` are there when log probabilities were asked for.

    `complete` says that the answer ends with it, because its constraint lets nothing follow.
    """

    token: int
    score: TokenScore | None = None
    top: tuple[TokenScore, ...] = ()
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Unsampled:
    """No token could be chosen for one sequence; `reason` says why. The others of the step can.

    `constrained` says that it is the constraint which allows none, not the model.
    """

    reason: str
    constrained: bool = False


Results = Sequence[Sampled | Unsampled]
"""What a slice yields: the next token, and one for each guessed one that was right."""


Steer = Callable[[int], int]
"""From the token that was chosen to the one that takes its place; called once for each."""


class Sampler(Protocol):
    """Chooses tokens for one sequence; keeps its random state and history between calls."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive tokens of one sequence, to be computed in one step.

    `start` is the position of the first. With a `sampler`, the logits after the last token choose
    the next one. `guess` is what the next ones may be: computed along with the tokens, and kept as
    far as the same would have been chosen.
    """

    slot: int
    start: int
    tokens: Sequence[int]
    sampler: Sampler | None
    guess: Sequence[int] = ()


class NoCells(Exception):
    """The runner found no room in its memory for the batch; nothing was computed."""


class Interrupted(Exception):
    """The step was interrupted; nothing was computed."""


class DecodeFailed(Exception):
    """The batch could not be computed; the slots it used are to be cleared."""


@dataclass(frozen=True, slots=True)
class FillMarkers:
    """The tokens around the texts that a middle is filled between.

    Some models were trained with the suffix first, some without a marker for the middle;
    `repository` and `file` stand before names.
    """

    prefix: int
    suffix: int
    middle: int | None
    repository: int | None = None
    file: int | None = None
    suffix_first: bool = False


class Vocabulary(Protocol):
    """Text to tokens and back. Safe on any thread."""

    @property
    def size(self) -> int: ...

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    def piece(self, token: int) -> bytes:
        """The bytes that the token adds to the answer's text (control tokens add none)."""
        ...

    def plain(self, token: int) -> bytes | None:
        """The bytes of a token that is nothing but text; None for any other."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends an answer."""
        ...


class State(Protocol):
    """A checkpoint: what a model keeps of a sequence beside its cells, in memory of its own."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def data(self) -> Bytes:
        """What `Memory.checkpoint` makes it of again."""
        ...


class Memory(Protocol):
    """The cells of the slots: what was computed of which sequence.

    Cells that slots share are held once, and are free when the last of these slots is cut.
    """

    @property
    def cells(self) -> int:
        """Tokens that can be held in all, over all slots, those of shared cells once."""
        ...

    @property
    def slots(self) -> int:
        """How many sequences can be held at once."""
        ...

    @property
    def guess_tokens(self) -> int:
        """The most tokens that may be guessed in one step; 0 where memory cannot be cut."""
        ...

    @property
    def saves(self) -> bool:
        """Whether there is something to `save`: sequences that cannot be cut anywhere."""
        ...

    @property
    def checkpoint_bytes(self) -> int:
        """The most bytes that checkpoints may take together."""
        ...

    @property
    def crowding_slows(self) -> bool:
        """Whether a step takes longer for cells that are in use by others than those it computes.

        On a processor it does: attention looks at the mask of each cell, and shares the cells out
        among the threads by their place, so that one has all the work behind a kept prefix.
        Source: ggml_compute_forward_flash_attn_ext_f16 in ops.cpp.
        """
        ...

    def can_cut(self, slot: int, length: int) -> bool:
        """Whether the slot's first `length` tokens can go on, without a checkpoint of them."""
        ...

    def truncate(self, slot: int, length: int, state: State | None = None) -> int:
        """Forget what lies behind the first `length` tokens; returns how many are left.

        That is `length` where the model's memory can be cut there, or where `state` was saved of a
        sequence of just these tokens; else 0: the slot is empty then.
        """
        ...

    def share(self, source: int, target: int, length: int, state: State | None = None) -> int:
        """Let the empty slot `target` begin with the first `length` tokens of `source`, in the same
        cells.

        Returns `length`, or 0 where that is not possible, as for `truncate`.
        """
        ...

    def save(self, slot: int) -> State | None:
        """A checkpoint of all that the slot holds; None where none could be made."""
        ...

    def checkpoint(self, data: Bytes) -> State:
        """The checkpoint that `State.data` was of."""
        ...

    def copy_bytes(self, slot: int, start: int, end: int) -> int:
        """How many bytes `copy_out` would give; 0 where it would give none."""
        ...

    def copy_out(self, slot: int, start: int, end: int) -> Bytes | None:
        """What was computed of the slot's tokens from `start` to `end`; None where none can be had.

        Where sequences cannot be cut anywhere, that is all that the slot holds, from 0 on.
        """
        ...

    def copy_in(self, slot: int, start: int, end: int, data: Bytes, covers: range) -> bool:
        """Let a slot that holds `start` tokens hold `end`, from what `copy_out` gave of those in
        `covers`, in this process or another.

        Takes as many free cells as `covers` has tokens, and leaves `end - start` of them in use.
        False where that was not possible; the slot is then as it was.
        """
        ...


class Drafter(Protocol):
    """A smaller model with the same vocabulary, which says what may come next. Engine thread only.

    Its slots follow those of the model that it guesses for: what that one forgets of a slot, or
    lets another slot begin with, the drafter does too. So after each step a slot of it holds a
    beginning of what the model's slot holds, or nothing.
    """

    @property
    def cost(self) -> float:
        """What a token takes it beside what one takes the model, as their sizes let expect."""
        ...

    @property
    def batch_tokens(self) -> int:
        """The most tokens that it computes at once."""
        ...

    def held(self, slot: int) -> int:
        """How many tokens it holds of the slot."""
        ...

    def likeliest(self, batch: Sequence[Slice]) -> Sequence[int]:
        """Compute the batch; the likeliest token behind each slice.

        Raises: NoCells, Interrupted, DecodeFailed; of the batch nothing is computed then.
        """
        ...

    def truncate(self, slot: int, length: int) -> None:
        """Hold no more than the first `length` tokens of the slot."""
        ...

    def share(self, source: int, target: int, length: int) -> None:
        """Let `target` hold just the first `length` tokens of `source`, or as many as that has."""
        ...

    def clear(self) -> None:
        """Hold nothing."""
        ...


class Runner(Memory, Protocol):
    """Computes batches. Created, used and closed on the engine thread."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def drafter(self) -> Drafter | None:
        """The smaller model that guesses for this one, where there is one."""
        ...

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
        constraint: Constraint | None = None,
    ) -> Sampler:
        """A sampler for one sequence; `history` is its prompt. `sampling` has no None but `seed`.

        `ignore_end` bans the tokens that end an answer. `constraint` says which tokens may
        come next, and hears of each that was chosen. `steer` has the last word on each token.
        """
        ...

    def run(self, batch: Sequence[Slice]) -> Sequence[Results]:
        """Compute the batch and sample: for each slice with a sampler the next token, and one more
        for each token of its guess that was right. No wrong one is left in its slot.

        Raises: NoCells, Interrupted, DecodeFailed.
        """
        ...

    def interrupt(self) -> None:
        """Make a running `run` raise Interrupted soon. From any thread; harmless when late."""
        ...

    def close(self) -> None: ...
