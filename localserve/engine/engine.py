"""The thread that runs one model: commands in, steps, events out.

Two crossings and no lock: a `SimpleQueue` of commands into the thread, and one
`call_soon_threadsafe` per step out of it, which hands over all events of the step at once. What
was read from disk comes through the same queue.
Everything that the thread owns (scheduler, runner) is created, used and freed on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar, assert_never

from localserve.engine.budget import BudgetKeeper
from localserve.engine.disk.restoring import Arrived
from localserve.engine.disk.shelf import Shelf
from localserve.engine.pacer import Pacer
from localserve.engine.runner import (
    DecodeFailed,
    Interrupted,
    NoCells,
    Results,
    Runner,
    Sampled,
    Slice,
    Steer,
    Unsampled,
    Vocabulary,
)
from localserve.engine.scheduler import Outcome, Scheduler, Step
from localserve.engine.sequence import (
    Broken,
    Ended,
    GenerateRequest,
    Sequence,
    SequenceEvent,
    SequenceView,
)
from localserve.errors import EngineFailed, GrammarFailed, LocalserveError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=Runner)


class Mailbox:
    """Where the events of one or more sequences arrive, in order. Lives on the event loop.

    Bounded by what its sequences can give out: their answers have limits.
    """

    def __init__(self) -> None:
        self._items: deque[tuple[int, SequenceEvent]] = deque()
        self._arrived = asyncio.Event()

    def put(self, number: int, event: SequenceEvent) -> None:
        self._items.append((number, event))
        self._arrived.set()

    async def take(self) -> list[tuple[int, SequenceEvent]]:
        """All that arrived since the last call; waits until there is something."""
        await self._arrived.wait()
        self._arrived.clear()
        items = list(self._items)
        self._items.clear()
        return items


@dataclass(frozen=True, slots=True)
class Submit:
    numbered: tuple[tuple[int, GenerateRequest], ...]


@dataclass(frozen=True, slots=True)
class Cancel:
    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    answer: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class Look:
    answer: asyncio.Future[tuple[SequenceView, ...]]


@dataclass(frozen=True, slots=True)
class Close:
    """Prefixes are written to disk for `save_seconds` at most."""

    save_seconds: float


Command = Submit | Cancel | Ping | Look | Arrived | Close


@dataclass(frozen=True, slots=True)
class StepStats:
    """What one step did. `thread_ms` is the engine thread's own work besides the runner's."""

    run_ms: float
    thread_ms: float
    answering: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The engine as its present step was scheduled, or after its last step.

    `disk_bytes` is what the model's kept prefixes take on disk. Since it was loaded,
    `guessed_tokens` were guessed, of which `right_tokens` came out right.
    """

    alive: bool
    running: int = 0
    waiting: int = 0
    cells_used: int = 0
    cells_kept: int = 0
    cells: int = 0
    steps: int = 0
    last_step: StepStats | None = None
    disk_bytes: int = 0
    step_budget_seconds: float = 0.0
    guessed_tokens: int = 0
    right_tokens: int = 0


class Engine(Generic[R]):
    """One model's thread. Made on the event loop that is to get its events."""

    def __init__(
        self,
        name: str,
        make_runner: Callable[[], R],
        *,
        max_running: int,
        max_waiting: int = 64,
        step_budget_seconds: float | None = None,
        make_shelf: Callable[[R], Shelf | None] = lambda runner: None,
    ) -> None:
        """`make_shelf` is called on the thread; kept prefixes go to disk by what it returns."""
        self._name = name
        self._make_runner = make_runner
        self._make_shelf = make_shelf
        self._shelf: Shelf | None = None  # engine thread only
        self._save_seconds = 0.0
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._step_budget_seconds = step_budget_seconds
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[R] = self._loop.create_future()
        self._started.add_done_callback(lambda started: started.cancelled() or started.exception())
        self._stopped: asyncio.Future[None] = self._loop.create_future()
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._mailboxes: dict[int, Mailbox] = {}  # event loop only
        self._cancelled: set[int] = set()  # added to on the loop, read by the thread
        self._in_step: frozenset[int] = frozenset()  # set by the thread, read on the loop
        self._step_since = 0.0
        self._sequences: dict[int, Sequence] = {}  # engine thread only
        self._news: list[tuple[int, SequenceEvent]] = []  # engine thread only
        self._snapshot = Snapshot(alive=True)
        self._steps = 0
        self._last_step: StepStats | None = None
        self._runner: R | None = None
        self._thread = threading.Thread(target=self._main, name=f"engine-{name}", daemon=True)

    # On the event loop

    async def start(self) -> R:
        """Start the thread and wait for its runner. Raises what `make_runner` raises."""
        self._thread.start()
        return await asyncio.shield(self._started)

    def submit(self, request: GenerateRequest, mailbox: Mailbox) -> int:
        """Queue a request; its events come to `mailbox` under the returned number."""
        return self.submit_all([request], mailbox)[0]

    def submit_all(self, requests: list[GenerateRequest], mailbox: Mailbox) -> list[int]:
        """Queue requests that are taken or refused together; returns a number for each."""
        if not self._snapshot.alive:
            raise EngineFailed(f"The engine of {self._name!r} has stopped.")
        numbered = tuple((next(self._numbers), request) for request in requests)
        for number, _ in numbered:
            self._mailboxes[number] = mailbox
        self._inbox.put(Submit(numbered))
        return [number for number, _ in numbered]

    def cancel(self, number: int) -> None:
        """Forget a request; no more of its events arrive. Harmless when late."""
        if self._mailboxes.pop(number, None) is None:
            return
        self._cancelled.add(number)
        self._inbox.put(Cancel(number))
        runner, in_step = self._runner, self._in_step
        if runner is not None and in_step and in_step <= self._cancelled:
            runner.interrupt()

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

    async def look(self, timeout_seconds: float) -> tuple[SequenceView, ...]:
        """The running sequences, in the order of their admission, as they are between two steps.

        Raises: TimeoutError (a step took longer); EngineFailed.
        """
        if not self._snapshot.alive:
            raise EngineFailed(f"The engine of {self._name!r} has stopped.")
        answer: asyncio.Future[tuple[SequenceView, ...]] = self._loop.create_future()
        self._inbox.put(Look(answer))
        return await asyncio.wait_for(answer, timeout_seconds)

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
        """Tell everyone who waits that there will be no more, without asking the thread."""
        for number in list(self._mailboxes):
            self._deliver([(number, Broken(error))])

    async def close(self, save_seconds: float = 0.0) -> None:
        """Cancel everything, free the runner and end the thread. Harmless when called twice.

        Kept prefixes are written to disk before, for `save_seconds` at most.
        """
        self._inbox.put(Close(save_seconds))
        if (runner := self._runner) is not None:
            runner.interrupt()
        if self._thread.ident is not None:
            await asyncio.shield(self._stopped)

    def _deliver(self, events: list[tuple[int, SequenceEvent]]) -> None:
        for number, event in events:
            last = isinstance(event, Ended | Broken)
            mailbox = self._mailboxes.pop(number, None) if last else self._mailboxes.get(number)
            if mailbox is not None:
                mailbox.put(number, event)

    # On the engine thread

    def _main(self) -> None:
        try:
            runner, shelf = self._make()
        except Exception as failure:
            self._snapshot = Snapshot(alive=False)
            self._call(_settle, self._started, None, failure)
            self._call(_settle, self._stopped, None, None)
            return
        self._runner = runner
        pacer = Pacer(self._step_budget_seconds, runner.batch_tokens)
        scheduler = Scheduler(
            runner,
            runner.vocabulary,
            pacer,
            max_running=self._max_running,
            max_waiting=self._max_waiting,
            drafter=runner.drafter,
            shelf=shelf,
            deliver=self._inbox.put,
        )
        self._publish(scheduler)
        self._call(_settle, self._started, runner, None)
        error: LocalserveError = EngineFailed("The model was unloaded.")
        try:
            self._work(scheduler, runner, pacer)
            scheduler.retire()
        except Exception as failure:
            log.exception("the engine of %s failed", self._name)
            error = EngineFailed(f"The engine failed: {failure}")
        finally:
            self._snapshot = Snapshot(alive=False)
            self._collect(scheduler.fail_all(error))
            self._give_out()
            self._call(self.break_all, error)
            self._runner = None
            if shelf is not None:
                self._put_away(scheduler, shelf)
            runner.close()
            self._call(_settle, self._stopped, None, None)

    def _make(self) -> tuple[R, Shelf | None]:
        """The runner and the shelf, or neither. Raises what they raise."""
        runner = self._make_runner()
        try:
            self._shelf = self._make_shelf(runner)
        except BaseException:
            runner.close()
            raise
        return runner, self._shelf

    def _put_away(self, scheduler: Scheduler, shelf: Shelf) -> None:
        """Write what is kept, in the time that there is."""
        until = time.monotonic() + self._save_seconds
        try:
            if scheduler.saver is not None and self._save_seconds:
                scheduler.saver.flush(self._save_seconds)
        except Exception:
            log.exception("%s: kept prefixes could not be written to disk", self._name)
        finally:
            shelf.close(max(0.0, until - time.monotonic()))

    def _work(self, scheduler: Scheduler, runner: Runner, pacer: Pacer) -> None:
        while self._take_commands(scheduler, runner):
            began = self._step_since = time.monotonic()
            step, outcome = scheduler.schedule()
            self._collect(outcome)
            self._publish(scheduler)
            # The loop is woken just before this thread lets go of the interpreter to compute;
            # earlier, the two would only wait for each other.
            self._give_out()
            if not step.slices and scheduler.waits_for_disk:
                continue
            if not step.slices:
                raise RuntimeError("there is work, and nothing can be scheduled")
            outcome, run_seconds = self._run(scheduler, runner, step, pacer)
            self._collect(outcome)
            thread_seconds = time.monotonic() - began - run_seconds
            self._last_step = StepStats(
                run_seconds * 1e3, thread_seconds * 1e3, step.answering, step.prompt_tokens
            )
            self._steps += 1

    def _run(
        self, scheduler: Scheduler, runner: Runner, step: Step, pacer: Pacer
    ) -> tuple[Outcome, float]:
        """Compute a step; returns what comes of it and the seconds that the runner took."""
        self._in_step = frozenset(sequence.number for sequence in step.sequences)
        began = time.monotonic()
        try:
            step = scheduler.draft(step)
            drafted = time.monotonic()
            results = runner.run(step.slices)
            done = time.monotonic()
        except Interrupted:
            return [], time.monotonic() - began
        except NoCells:
            return scheduler.make_room(step), time.monotonic() - began
        except DecodeFailed as failure:
            log.error("%s: a step failed: %s", self._name, failure, extra=_about(step.sequences))
            error = EngineFailed(f"The model could not compute this: {failure}")
            return scheduler.fail(step, error), time.monotonic() - began
        except Exception as failure:
            log.exception("%s: a step failed", self._name, extra=_about(step.sequences))
            error = EngineFailed(f"The engine could not compute this: {failure}")
            return scheduler.fail(step, error), time.monotonic() - began
        finally:
            self._in_step = frozenset()
        pacer.observe(step.answering, step.prompt_tokens, done - drafted, step.guessed_tokens)
        return self._take_over(scheduler, step, results), done - began

    def _take_over(self, scheduler: Scheduler, step: Step, results: Iterable[Results]) -> Outcome:
        """What comes of a computed step; a sequence that got no token fails alone."""
        outcome: Outcome = []
        taken: list[tuple[Sequence, Slice, list[Sampled]]] = []
        for sequence, part, result in zip(step.sequences, step.slices, results, strict=True):
            sampled = [one for one in result if isinstance(one, Sampled)]
            if len(sampled) < len(result):
                outcome += scheduler.fail(
                    Step((sequence,), (part,)), self._unusable(sequence, result)
                )
            else:
                taken.append((sequence, part, sampled))
        sequences = tuple(sequence for sequence, _, _ in taken)
        rest = Step(sequences, tuple(part for _, part, _ in taken))
        return outcome + scheduler.update(rest, [sampled for _, _, sampled in taken])

    def _unusable(self, sequence: Sequence, results: Results) -> LocalserveError:
        unsampled = next(one for one in results if isinstance(one, Unsampled))
        reason, about = unsampled.reason, _about([sequence])
        if unsampled.constrained:
            log.warning("%s: an answer left its grammar: %s", self._name, reason, extra=about)
            return GrammarFailed(reason)
        log.error("%s: no token could be chosen: %s", self._name, reason, extra=about)
        return EngineFailed(
            f"The model's output is unusable: {reason}.",
            hint="If it comes back, the file may be damaged or its quantization broken:"
            " try another one, or --gpu-layers 0.",
        )

    def _take_commands(self, scheduler: Scheduler, runner: Runner) -> bool:
        """Obey what was sent; wait for a command while there is no work. False ends the thread."""
        while True:
            idle = scheduler.idle or self._waits(scheduler)
            if idle:
                self._step_since = 0.0
                self._publish(scheduler)
                self._give_out()
            try:
                command = self._inbox.get(idle, self._patience_seconds(scheduler))
            except queue.Empty:
                if not scheduler.idle or scheduler.saver is None:
                    return True
                scheduler.saver.save_some()
                continue
            match command:
                case Submit():
                    self._take_in(scheduler, runner, command)
                case Cancel(number):
                    self._cancelled.discard(number)
                    if (sequence := self._sequences.pop(number, None)) is not None:
                        scheduler.cancel(sequence)
                case Ping(answer):
                    self._call(_settle, answer, None, None)
                case Look(looking):
                    views = tuple(sequence.view() for sequence in scheduler.running)
                    self._call(_settle, looking, views, None)
                case Arrived():
                    if scheduler.restorer is not None:
                        scheduler.restorer.arrive(command)
                case Close(save_seconds):
                    self._save_seconds = save_seconds
                    return False
                case _ as never:
                    assert_never(never)

    def _waits(self, scheduler: Scheduler) -> bool:
        """Whether there is nothing to do before something arrives from disk."""
        restorer = scheduler.restorer
        return restorer is not None and scheduler.waits_for_disk and not restorer.ready

    def _patience_seconds(self, scheduler: Scheduler) -> float | None:
        """How long to wait for a command; None for ever."""
        if scheduler.saver is None or scheduler.restorer is None:
            return None
        if scheduler.idle:
            return scheduler.saver.due_seconds()
        return scheduler.restorer.patience_seconds

    def _take_in(self, scheduler: Scheduler, runner: Runner, command: Submit) -> None:
        """Hand new sequences to the scheduler; whatever is wrong with them harms nobody else."""
        sequences: list[Sequence] = []
        try:
            for number, request in command.numbered:
                sequence = Sequence(number, request, runner.cells)
                sequences.append(sequence)
                sequence.sampler = runner.make_sampler(
                    request.sampling,
                    history=sequence.tokens,
                    top_logprobs=request.top_logprobs,
                    ignore_end=request.ignore_end,
                    steer=_steer(request, runner.vocabulary),
                    constraint=request.constraint() if request.constraint else None,
                )
            scheduler.submit(*sequences)
        except Exception as failure:
            if isinstance(failure, LocalserveError):
                error = failure
            else:
                log.exception("%s: a request could not be taken in", self._name)
                error = EngineFailed(f"The engine could not take the request: {failure}")
            for sequence in sequences:
                sequence.close()
            broken = [(number, Broken(error)) for number, _ in command.numbered]
            self._call(self._deliver, broken)
            return
        self._sequences.update((sequence.number, sequence) for sequence in sequences)

    def _collect(self, outcome: Outcome) -> None:
        """Keep what a step brought until it is given out; what has ended is forgotten at once."""
        for sequence, event in outcome:
            if isinstance(event, Ended | Broken):
                self._sequences.pop(sequence.number, None)
            self._news.append((sequence.number, event))

    def _give_out(self) -> None:
        """The one hand-over: all events since the last one, in one call on the event loop."""
        if self._news:
            self._call(self._deliver, self._news)
            self._news = []

    def _publish(self, scheduler: Scheduler) -> None:
        self._snapshot = Snapshot(
            alive=True,
            running=len(scheduler.running),
            waiting=len(scheduler.waiting),
            cells_used=scheduler.cells_used,
            cells_kept=scheduler.cells_kept,
            cells=scheduler.cells,
            steps=self._steps,
            last_step=self._last_step,
            disk_bytes=self._shelf.size_bytes if self._shelf is not None else 0,
            step_budget_seconds=scheduler.step_budget_seconds,
            guessed_tokens=scheduler.guessed_tokens,
            right_tokens=scheduler.right_tokens,
        )

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """On the event loop, soon; a loop that is closed needs nothing any more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _about(sequences: Iterable[Sequence]) -> dict[str, str]:
    """Which requests a line of the log is about."""
    return {"request_id": ",".join(sorted({one.request.request_id for one in sequences}))}


def _steer(request: GenerateRequest, vocabulary: Vocabulary) -> Steer | None:
    """What ends the reasoning of an answer in time."""
    if request.budget is None:
        return None

    def spelling(token: int) -> bytes:
        return request.spelled.get(token) or vocabulary.piece(token)

    return BudgetKeeper(request.budget, spelling).steer


def _settle(future: asyncio.Future[T], result: T, error: BaseException | None) -> None:
    """Settle a future unless its awaiter is gone."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
