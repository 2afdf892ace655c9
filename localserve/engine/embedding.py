"""The thread that makes vectors with one model: commands in, steps, results out.

The sibling of `engine.engine`, for models that write no text: a request has all of its vectors or
an error, once. Two crossings and no lock, as there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, assert_never

from localserve.engine.embedder import Embedder, Piece, Vector
from localserve.engine.engine import Snapshot
from localserve.engine.inputs import Inputs, Job, Tokens
from localserve.engine.runner import DecodeFailed, Interrupted
from localserve.errors import EngineFailed, LocalserveError

log = logging.getLogger(__name__)

T = TypeVar("T")
E = TypeVar("E", bound=Embedder)

Result = asyncio.Future[list[Vector]]


@dataclass(frozen=True, slots=True)
class Submit:
    number: int
    inputs: tuple[Tokens, ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    answer: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Close:
    pass


Command = Submit | Cancel | Ping | Close


class EmbeddingEngine(Generic[E]):
    """One model's thread. Made on the event loop that is to get its results."""

    def __init__(self, name: str, make_embedder: Callable[[], E], *, max_waiting: int = 64) -> None:
        self._name = name
        self._make_embedder = make_embedder
        self._max_waiting = max_waiting
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[E] = self._loop.create_future()
        self._started.add_done_callback(lambda started: started.cancelled() or started.exception())
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._results: dict[int, Result] = {}  # event loop only
        self._cancelled: set[int] = set()  # added to on the loop, read by the thread
        self._in_step: frozenset[int] = frozenset()  # set by the thread, read on the loop
        self._step_since = 0.0
        self._steps = 0
        self._jobs: dict[int, Job] = {}  # engine thread only
        self._snapshot = Snapshot(alive=True)
        self._embedder: E | None = None
        self._thread = threading.Thread(target=self._main, name=f"engine-{name}", daemon=True)

    # On the event loop

    async def start(self) -> E:
        """Start the thread and wait for its embedder. Raises what `make_embedder` raises."""
        self._thread.start()
        return await asyncio.shield(self._started)

    async def embed(self, inputs: tuple[Tokens, ...]) -> list[Vector]:
        """The vector of each input, none of which is empty or longer than the cells.

        Cancelling the call cancels the work. Raises: Overloaded, EngineFailed.
        """
        if not self._snapshot.alive:
            raise EngineFailed(f"The engine of {self._name!r} has stopped.")
        number = next(self._numbers)
        result: Result = self._loop.create_future()
        self._results[number] = result
        self._inbox.put(Submit(number, inputs))
        try:
            return await result
        except asyncio.CancelledError:
            self._cancel(number)
            raise

    def _cancel(self, number: int) -> None:
        if self._results.pop(number, None) is None:
            return
        self._cancelled.add(number)
        self._inbox.put(Cancel(number))
        embedder, in_step = self._embedder, self._in_step
        if embedder is not None and in_step and in_step <= self._cancelled:
            embedder.interrupt()

    async def responsive(self, timeout_seconds: float, *, step_seconds: float = 60.0) -> bool:
        """Whether the thread takes commands, or is in a step younger than `step_seconds`."""
        if not self._snapshot.alive or not self._thread.is_alive():
            return False
        since = self._step_since
        if since:
            return time.monotonic() - since < step_seconds
        answer: asyncio.Future[None] = self._loop.create_future()
        self._inbox.put(Ping(answer))
        try:
            await asyncio.wait_for(answer, timeout_seconds)
        except TimeoutError:
            return self._step_since != 0.0
        return True

    @property
    def snapshot(self) -> Snapshot:
        """From any thread."""
        return self._snapshot

    @property
    def step_age_seconds(self) -> float:
        """How long the present step has taken; 0.0 while the engine waits for work."""
        since = self._step_since
        return time.monotonic() - since if since else 0.0

    def break_all(self, error: LocalserveError) -> None:
        """Tell everyone who waits that there will be nothing, without asking the thread."""
        for number in list(self._results):
            self._deliver(number, error)

    async def close(self) -> None:
        """Cancel everything, free the embedder and end the thread. Harmless when called twice."""
        self._inbox.put(Close())
        if (embedder := self._embedder) is not None:
            embedder.interrupt()
        if self._thread.ident is not None:
            await asyncio.shield(self._stopped)

    def _deliver(self, number: int, outcome: list[Vector] | LocalserveError) -> None:
        result = self._results.pop(number, None)
        if result is None or result.done():
            return
        if isinstance(outcome, LocalserveError):
            result.set_exception(outcome)
        else:
            result.set_result(outcome)

    # On the engine thread

    def _main(self) -> None:
        try:
            embedder = self._make_embedder()
        except Exception as failure:
            self._snapshot = Snapshot(alive=False)
            self._call(_settle, self._started, None, failure)
            self._call(_settle, self._stopped, None, None)
            return
        self._embedder = embedder
        inputs = Inputs(embedder, max_jobs=self._max_waiting)
        self._publish(inputs, embedder)
        self._call(_settle, self._started, embedder, None)
        error: LocalserveError = EngineFailed("The model was unloaded.")
        try:
            self._work(inputs, embedder)
        except Exception as failure:
            log.exception("the engine of %s failed", self._name)
            error = EngineFailed(f"The engine failed: {failure}")
        finally:
            self._snapshot = Snapshot(alive=False)
            self._call(self.break_all, error)
            self._embedder = None
            embedder.close()
            self._call(_settle, self._stopped, None, None)

    def _work(self, inputs: Inputs, embedder: Embedder) -> None:
        while self._take_commands(inputs, embedder):
            self._step_since = time.monotonic()
            pieces = inputs.schedule()
            if not pieces:
                raise RuntimeError("there is work, and nothing can be scheduled")
            self._publish(inputs, embedder)
            self._run(inputs, embedder, pieces)
            self._steps += 1

    def _run(self, inputs: Inputs, embedder: Embedder, pieces: Sequence[Piece]) -> None:
        """Compute a step, and give out what is complete by it."""
        self._in_step = frozenset(job.number for job in inputs.jobs_of(pieces))
        try:
            vectors = embedder.run(pieces)
        except Interrupted:
            inputs.restart(pieces)
        except Exception as failure:
            if isinstance(failure, DecodeFailed):
                log.error("%s: a step failed: %s", self._name, failure)
            else:
                log.exception("%s: a step failed", self._name)
            self._fail(inputs, embedder, pieces, failure)
        else:
            for job in inputs.update(pieces, vectors):
                found = [job.vectors[index] for index in range(len(job.inputs))]
                self._finish(job, found)
        finally:
            self._in_step = frozenset()

    def _fail(
        self, inputs: Inputs, embedder: Embedder, pieces: Sequence[Piece], failure: Exception
    ) -> None:
        """The requests of a step that failed; others go on."""
        jobs = inputs.jobs_of(pieces)
        inputs.restart(pieces)
        for job in jobs:
            self._forget(inputs, embedder, job)
            self._finish(job, EngineFailed(f"The model could not compute this: {failure}"))

    def _finish(self, job: Job, outcome: list[Vector] | LocalserveError) -> None:
        self._jobs.pop(job.number, None)
        self._call(self._deliver, job.number, outcome)

    def _take_commands(self, inputs: Inputs, embedder: Embedder) -> bool:
        """Obey what was sent; wait for a command while there is no work. False ends the thread."""
        while True:
            if inputs.idle:
                self._step_since = 0.0
                self._publish(inputs, embedder)
            try:
                command = self._inbox.get(block=inputs.idle)
            except queue.Empty:
                return True
            match command:
                case Submit(number, wanted):
                    self._take_in(inputs, Job(number, wanted))
                case Cancel(number):
                    self._cancelled.discard(number)
                    if (job := self._jobs.pop(number, None)) is not None:
                        self._forget(inputs, embedder, job)
                case Ping(answer):
                    self._call(_settle, answer, None, None)
                case Close():
                    return False
                case _ as never:
                    assert_never(never)

    def _take_in(self, inputs: Inputs, job: Job) -> None:
        try:
            inputs.submit(job)
        except LocalserveError as error:
            self._call(self._deliver, job.number, error)
        else:
            self._jobs[job.number] = job

    def _forget(self, inputs: Inputs, embedder: Embedder, job: Job) -> None:
        for slot in inputs.drop(job):
            embedder.forget(slot)

    def _publish(self, inputs: Inputs, embedder: Embedder) -> None:
        self._snapshot = Snapshot(
            alive=True,
            running=inputs.running,
            waiting=inputs.waiting,
            cells_used=inputs.cells_used,
            cells=embedder.cells,
            steps=self._steps,
        )

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """On the event loop, soon; a loop that is closed needs nothing any more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    """Settle a future unless its awaiter is gone."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
