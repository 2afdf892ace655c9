"""A runner without a model: answers follow a script, memory is checked strictly.

Ships in the package so that tests of the engine, and of whatever is built on it, need no model and
no shared library. Its vocabulary is bytes: token ids 0 to 255 are bytes, 256 ends an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from localserve.chat import Sampling
from localserve.engine.constraint import Constraint, ConstraintFailed
from localserve.engine.runner import (
    Bytes,
    DecodeFailed,
    Interrupted,
    NoCells,
    Sampled,
    Slice,
    State,
    Steer,
    TokenScore,
    Unsampled,
)

END = 256


class ByteVocabulary:
    """Every byte is a token."""

    size = END + 1

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        return list(text.encode())

    def piece(self, token: int) -> bytes:
        return b"" if token == END else bytes([token])

    def plain(self, token: int) -> bytes | None:
        return self.piece(token) or None

    def is_end(self, token: int) -> bool:
        return token == END


Script = Callable[[bytes], int]
"""From all bytes of a sequence so far to the next token."""


def echo(text: bytes) -> int:
    """The shipped script: repeats what stands behind the last newline of the prompt, then ends.

    A prompt `...\\nabc\\n` is answered `abc`.
    """
    prompt, separator, answer = text.rpartition(b"\n")
    wanted = prompt.rpartition(b"\n")[2]
    if not separator or len(answer) >= len(wanted):
        return END
    return wanted[len(answer)]


@dataclass(slots=True)
class ScriptedSampler:
    """Only remembers what was asked for."""

    top_logprobs: int | None
    ignore_end: bool
    steer: Steer | None = None
    constraint: Constraint | None = None
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass(slots=True, eq=False)
class ScriptedCell:
    """One token's place in the memory; slots that share it hold the same object."""

    token: int


@dataclass(frozen=True, slots=True)
class ScriptedState:
    """A checkpoint; remembers what it is one of."""

    tokens: tuple[int, ...]
    size_bytes: int = 1_000

    @property
    def data(self) -> Bytes:
        return _as_bytes(self.tokens)


@dataclass
class ScriptedDrafter:
    """Follows a script of its own; of `broken` every batch fails.

    Its slots are checked as strictly: it is never told to compute what it holds, or behind a gap.
    """

    cells: int = 1024
    batch_tokens: int = 256
    script: Script = echo
    cost: float = 0.1
    broken: bool = False
    on_run: Callable[[Sequence[Slice]], None] = lambda batch: None
    memory: dict[int, list[ScriptedCell]] = field(default_factory=dict)
    computed_tokens: int = 0
    steps: int = 0

    @property
    def cells_used(self) -> int:
        """Cells that some slot holds, shared ones once."""
        return len({id(cell) for held in self.memory.values() for cell in held})

    def tokens(self, slot: int) -> list[int]:
        """The tokens that a slot holds."""
        return [cell.token for cell in self.memory.get(slot, [])]

    def held(self, slot: int) -> int:
        return len(self.memory.get(slot, []))

    def likeliest(self, batch: Sequence[Slice]) -> list[int]:
        assert batch, "an empty batch was drafted"
        new = sum(len(part.tokens) for part in batch)
        assert new <= self.batch_tokens
        assert len({part.slot for part in batch}) == len(batch)
        self.on_run(batch)
        if self.broken:
            raise DecodeFailed("the drafter is broken")
        if self.cells_used + new > self.cells:
            raise NoCells
        for part in batch:
            held = self.memory.setdefault(part.slot, [])
            assert part.start == len(held), f"slot {part.slot}: {part.start} != {len(held)}"
            assert part.tokens
            held.extend(map(ScriptedCell, part.tokens))
        self.computed_tokens += new
        self.steps += 1
        piece = ByteVocabulary().piece
        return [self.script(b"".join(map(piece, self.tokens(part.slot)))) for part in batch]

    def truncate(self, slot: int, length: int) -> None:
        self.memory[slot] = self.memory.get(slot, [])[:length]

    def share(self, source: int, target: int, length: int) -> None:
        self.memory[target] = self.memory.get(source, [])[:length]

    def clear(self) -> None:
        self.memory.clear()


@dataclass
class ScriptedRunner:
    """Follows `script`; `on_run` is called with every batch before it is computed. Of the tokens
    that a constraint allows, where it refuses the script's, `instead` chooses.

    `cuts_anywhere` False behaves like a recurrent model: a sequence can go on only from its end or
    from a checkpoint.
    """

    cells: int = 1024
    slots: int = 8
    batch_tokens: int = 256
    script: Script = echo
    instead: Callable[[list[int]], int] = min
    on_run: Callable[[Sequence[Slice]], None] = lambda batch: None
    cuts_anywhere: bool = True
    checkpoint_bytes: int = 0
    crowding_slows: bool = False
    vocabulary: ByteVocabulary = field(default_factory=ByteVocabulary)
    guess_tokens: int = 0
    drafter: ScriptedDrafter | None = None
    memory: dict[int, list[ScriptedCell]] = field(default_factory=dict)
    samplers: list[ScriptedSampler] = field(default_factory=list)
    computed_tokens: int = 0
    steps: int = 0
    closed: bool = False
    interrupted: threading.Event = field(default_factory=threading.Event)

    @property
    def saves(self) -> bool:
        return not self.cuts_anywhere

    @property
    def cells_used(self) -> int:
        """Cells that some slot holds, shared ones once."""
        return len({id(cell) for held in self.memory.values() for cell in held})

    def held(self, slot: int) -> list[int]:
        """The tokens that a slot holds."""
        return [cell.token for cell in self.memory.get(slot, [])]

    def can_cut(self, slot: int, length: int) -> bool:
        assert length <= len(self.memory.get(slot, []))
        return self.cuts_anywhere or length in (0, len(self.memory.get(slot, [])))

    def truncate(self, slot: int, length: int, state: State | None = None) -> int:
        held = self.memory.get(slot, [])
        assert length <= len(held), f"slot {slot} holds {len(held)} tokens, not {length}"
        if not self._goes_on(slot, length, state):
            length = 0
        self.memory[slot] = held[:length]
        self._follow(slot)
        return length

    def _follow(self, slot: int) -> None:
        """The drafter forgets what the slot does not hold."""
        if self.drafter is not None:
            self.drafter.truncate(slot, len(self.memory.get(slot, [])))

    def share(self, source: int, target: int, length: int, state: State | None = None) -> int:
        assert not self.memory.get(target), f"slot {target} is not empty"
        assert 0 < length <= len(self.memory.get(source, []))
        if not self._goes_on(source, length, state):
            return 0
        self.memory[target] = self.memory[source][:length]
        if self.drafter is not None:
            self.drafter.share(source, target, length)
        return length

    def save(self, slot: int) -> ScriptedState:
        assert self.saves
        return ScriptedState(tuple(self.held(slot)))

    def checkpoint(self, data: Bytes) -> ScriptedState:
        return ScriptedState(_as_tokens(data))

    def copy_bytes(self, slot: int, start: int, end: int) -> int:
        return 4 * (end - start)

    def copy_out(self, slot: int, start: int, end: int) -> Bytes:
        held = self.held(slot)
        assert start < end <= len(held)
        assert self.cuts_anywhere or (start, end) == (0, len(held))
        return _as_bytes(held[start:end])

    def copy_in(self, slot: int, start: int, end: int, data: Bytes, covers: range) -> bool:
        held = self.memory.setdefault(slot, [])
        tokens = _as_tokens(data)
        assert len(tokens) == len(covers)
        assert covers.start <= start == len(held) < end <= covers.stop
        assert self.cells_used + len(tokens) <= self.cells
        held.extend(map(ScriptedCell, tokens[start - covers.start : end - covers.start]))
        return True

    def _goes_on(self, slot: int, length: int, state: State | None) -> bool:
        if state is None:
            return self.can_cut(slot, length)
        assert isinstance(state, ScriptedState)
        assert list(state.tokens) == self.held(slot)[:length], "a checkpoint of something else"
        return True

    def make_sampler(
        self,
        sampling: Sampling,
        *,
        history: Sequence[int],
        top_logprobs: int | None,
        ignore_end: bool,
        steer: Steer | None = None,
        constraint: Constraint | None = None,
    ) -> ScriptedSampler:
        self.samplers.append(ScriptedSampler(top_logprobs, ignore_end, steer, constraint))
        return self.samplers[-1]

    def run(self, batch: Sequence[Slice]) -> list[list[Sampled | Unsampled]]:
        try:
            return self._run(batch)
        finally:
            for part in batch:
                self._follow(part.slot)

    def _run(self, batch: Sequence[Slice]) -> list[list[Sampled | Unsampled]]:
        assert batch, "an empty batch was run"
        assert sum(len(part.tokens) + len(part.guess) for part in batch) <= self.batch_tokens
        assert sum(len(part.guess) for part in batch) <= self.guess_tokens
        assert len({part.slot for part in batch}) == len(batch)
        self.interrupted.clear()
        self.on_run(batch)
        if self.interrupted.is_set():
            raise Interrupted
        for part in batch:
            held = self.memory.setdefault(part.slot, [])
            assert part.start == len(held), f"slot {part.slot}: {part.start} != {len(held)}"
            held.extend(map(ScriptedCell, part.tokens))
            self.computed_tokens += len(part.tokens) + len(part.guess)
        used = self.cells_used + sum(len(part.guess) for part in batch)
        if used > self.cells:
            raise DecodeFailed(f"{used} cells used of {self.cells}")
        self.steps += 1
        return [self._sample_all(part) if part.sampler is not None else [] for part in batch]

    def _sample_all(self, part: Slice) -> list[Sampled | Unsampled]:
        results: list[Sampled | Unsampled] = [self._sample(part)]
        for guessed, sampled in zip(part.guess, results, strict=False):
            if isinstance(sampled, Unsampled) or sampled.complete or sampled.token != guessed:
                break
            self.memory[part.slot].append(ScriptedCell(guessed))
            results.append(self._sample(part))
        return results

    def _sample(self, part: Slice) -> Sampled | Unsampled:
        assert isinstance(part.sampler, ScriptedSampler)
        assert not part.sampler.closed
        token = self.script(b"".join(map(self.vocabulary.piece, self.held(part.slot))))
        if token == END and part.sampler.ignore_end:
            token = ord("x")
        constraint = part.sampler.constraint
        try:
            if constraint is not None and not constraint.allows(token):
                token = self._allowed(constraint)
            if part.sampler.steer is not None:
                token = part.sampler.steer(token)
            if constraint is not None:
                constraint.accept(token)
        except ConstraintFailed as failure:
            return Unsampled(str(failure), constrained=True)
        complete = constraint is not None and constraint.complete
        if part.sampler.top_logprobs is None:
            return Sampled(token, complete=complete)
        score = TokenScore(token, -0.5)
        return Sampled(token, score, (score,) * part.sampler.top_logprobs, complete)

    def _allowed(self, constraint: Constraint) -> int:
        """What is said instead of a token that the constraint refuses."""
        row = np.zeros(self.vocabulary.size, dtype=np.float32)
        constraint.restrict(row)
        allowed = np.flatnonzero(row == 0.0)
        if not len(allowed):
            raise ConstraintFailed("no token may come next")
        return self.instead(allowed.tolist())

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True


def _as_bytes(tokens: Sequence[int]) -> Bytes:
    return np.frombuffer(np.array(tokens, np.int32).tobytes(), np.uint8)


def _as_tokens(data: Bytes) -> tuple[int, ...]:
    return tuple(np.frombuffer(data.tobytes(), np.int32).tolist())
