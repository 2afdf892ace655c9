"""Which inputs are made into vectors next. Pure; lives on the engine thread.

Requests take turns: a step takes an input of each, then another one of each, as long as there is
room. So one with a thousand inputs does not hold up one with a single input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from localserve.engine.embedder import Embedder, Piece, Vector
from localserve.errors import Overloaded

STEP_TOKENS = 512
"""Tokens of a step. More bring nothing where inputs are computed together, because each looks at
the places of all others; a single longer input is a step of its own."""

Tokens = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Job:
    """The inputs of one request. `vectors` are those that are there, in the order of the inputs."""

    number: int
    inputs: tuple[Tokens, ...]
    begun: int = 0
    vectors: dict[int, Vector] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether there are inputs that have not begun."""
        return self.begun < len(self.inputs)

    @property
    def done(self) -> bool:
        return len(self.vectors) == len(self.inputs)


@dataclass(slots=True, eq=False)
class Begun:
    """An input that has a slot; `computed` of its tokens lie in it, `planned` more are to follow in
    this step."""

    job: Job
    index: int
    slot: int
    computed: int = 0
    planned: int = 0

    @property
    def tokens(self) -> Tokens:
        return self.job.inputs[self.index]

    @property
    def left(self) -> int:
        """Tokens that are neither computed nor planned."""
        return len(self.tokens) - self.computed - self.planned


class Inputs:
    """All inputs that are not computed yet, and those of them that have begun."""

    def __init__(self, embedder: Embedder, *, max_jobs: int) -> None:
        self._cells = embedder.cells
        self._divides = embedder.divides
        self._max_jobs = max_jobs
        self._free = deque(range(embedder.slots))
        self._jobs: deque[Job] = deque()
        self._begun: dict[int, Begun] = {}  # by slot, the oldest first

    @property
    def idle(self) -> bool:
        return not self._jobs

    @property
    def running(self) -> int:
        """Requests of which an input has begun."""
        return len({id(begun.job) for begun in self._begun.values()})

    @property
    def waiting(self) -> int:
        return len(self._jobs) - self.running

    @property
    def cells_used(self) -> int:
        """Cells that are or will be taken by inputs that have begun."""
        return sum(len(begun.tokens) for begun in self._begun.values())

    def submit(self, job: Job) -> None:
        """Queue a request. Raises: Overloaded."""
        if len(self._jobs) >= self._max_jobs:
            raise Overloaded(
                f"{len(self._jobs)} requests wait already, and this server lets"
                f" {self._max_jobs} wait.",
                retry_after_seconds=1,
                hint="Try again in a moment, or start with a larger LOCALSERVE_MAX_WAITING.",
            )
        self._jobs.append(job)

    def schedule(self) -> list[Piece]:
        """The pieces of the next step: at most STEP_TOKENS, or one input that is longer."""
        planned: list[Begun] = []
        room = STEP_TOKENS
        turns = deque(self._jobs)
        held = self._is_held()  # nobody begins before the one whose turn it is
        while turns and room > 0:
            job = turns.popleft()
            begun = self._going_on(job, planned) or (None if held else self._begin(job))
            if begun is None:
                continue
            share = max(1, room // (len(turns) + 1))
            count = min(begun.left, share) if self._divides else begun.left
            if count > room and planned:
                self._put_back(begun)
                continue
            begun.planned = count
            planned.append(begun)
            room -= count
            if begun.left == 0 and job.waits:
                turns.append(job)
        for begun in planned:  # what others left is for those that can use it
            more = min(begun.left, max(0, room))
            begun.planned += more
            room -= more
        if not held:
            self._jobs.rotate(-1)
        return [self._piece(begun) for begun in planned]

    def update(self, pieces: Sequence[Piece], vectors: Sequence[Vector | None]) -> list[Job]:
        """Take over what a step brought; returns the requests that are done."""
        done: list[Job] = []
        for piece, vector in zip(pieces, vectors, strict=True):
            begun = self._begun.get(piece.slot)
            assert begun is not None
            begun.computed += begun.planned
            begun.planned = 0
            if vector is None:
                continue
            self._end(begun)
            begun.job.vectors[begun.index] = vector
            if begun.job.done:
                self._jobs.remove(begun.job)
                done.append(begun.job)
        return done

    def restart(self, pieces: Iterable[Piece]) -> None:
        """A step brought nothing, and its slots are empty."""
        for piece in pieces:
            begun = self._begun[piece.slot]
            begun.computed = begun.planned = 0

    def jobs_of(self, pieces: Iterable[Piece]) -> list[Job]:
        """The requests that a step computes for, each once."""
        return list(dict.fromkeys(self._begun[piece.slot].job for piece in pieces))

    def drop(self, job: Job) -> list[int]:
        """Forget a request; returns the slots that hold something of it. Harmless when late."""
        if job not in self._jobs:
            return []
        self._jobs.remove(job)
        own = [begun for begun in self._begun.values() if begun.job is job]
        for begun in own:
            self._end(begun)
        return [begun.slot for begun in own if begun.computed]

    def _going_on(self, job: Job, planned: Sequence[Begun]) -> Begun | None:
        """The request's input that has begun, if this step has no piece of it yet."""
        own = (begun for begun in self._begun.values() if begun.job is job)
        return next((begun for begun in own if begun.left and begun not in planned), None)

    def _begin(self, job: Job) -> Begun | None:
        """The request's next input; None where there is none, or no room for it."""
        if not job.waits or not self._free or self._lacks_cells(job):
            return None
        begun = Begun(job, job.begun, self._free.popleft())
        job.begun += 1
        self._begun[begun.slot] = begun
        return begun

    def _lacks_cells(self, job: Job) -> bool:
        """Whether the request's next input has to wait for cells."""
        return job.waits and self.cells_used + len(job.inputs[job.begun]) > self._cells

    def _is_held(self) -> bool:
        """Whether the request whose turn it is waits for the cells of others."""
        first = self._jobs[0]
        going_on = any(begun.job is first for begun in self._begun.values())
        return not going_on and self._lacks_cells(first)

    def _put_back(self, begun: Begun) -> None:
        """It was to begin as a whole, and there is no room for it in this step."""
        self._end(begun)
        begun.job.begun -= 1

    def _end(self, begun: Begun) -> None:
        del self._begun[begun.slot]
        self._free.append(begun.slot)

    def _piece(self, begun: Begun) -> Piece:
        end = begun.computed + begun.planned
        tokens = begun.tokens[begun.computed : end]
        return Piece(begun.slot, begun.computed, tokens, last=end == len(begun.tokens))
