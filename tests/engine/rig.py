"""A scheduler over a scripted runner, stepped by hand as the engine's thread steps it.

After each step it checks what must always hold. Knows no threads.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from localserve.chat import DEFAULT_SAMPLING, Priority
from localserve.engine.disk.restoring import Arrived
from localserve.engine.disk.shelf import Shelf
from localserve.engine.pacer import Pacer
from localserve.engine.prefixes import TokenArray
from localserve.engine.runner import (
    DecodeFailed,
    Interrupted,
    NoCells,
    Sampled,
    TokenChunk,
    Unsampled,
)
from localserve.engine.scheduler import Outcome, Scheduler, Step
from localserve.engine.scripted import ByteVocabulary, ScriptedRunner
from localserve.engine.sequence import Broken, Ended, GenerateRequest, Sequence, SequenceEvent, Text
from localserve.errors import EngineFailed


def token_array(*tokens: int) -> TokenArray:
    return np.array(tokens, dtype=np.int32)


PATIENCE_SECONDS = 20.0
"""Far more than a disk takes here."""

FIRST_PAIR = 1_000


class PairVocabulary(ByteVocabulary):
    """Every pair of bytes is a token too."""

    size = FIRST_PAIR + 256 * 256

    def piece(self, token: int) -> bytes:
        if token >= FIRST_PAIR:
            return bytes(divmod(token - FIRST_PAIR, 256))
        return super().piece(token)


def in_pairs(text: bytes, *, begin: int = 0) -> list[int]:
    """`text` as tokens of `PairVocabulary`: single bytes up to `begin`, pairs from there."""
    paired = len(text) - (len(text) - begin) % 2
    pairs = [FIRST_PAIR + text[at] * 256 + text[at + 1] for at in range(begin, paired, 2)]
    return [*text[:begin], *pairs, *text[paired:]]


def request(
    prompt: bytes | list[int],
    *,
    max_tokens: int | None = None,
    scope: str = "",
    priority: Priority = Priority.CHAT,
    stop: tuple[str, ...] = (),
    ignore_end: bool = False,
    top_logprobs: int | None = None,
    from_text: bool = False,
    checkpoints: tuple[int, ...] = (),
) -> GenerateRequest:
    return GenerateRequest(
        prompt=(TokenChunk(tuple(prompt)),),
        sampling=DEFAULT_SAMPLING,
        max_tokens=max_tokens,
        stop=stop,
        scope=scope,
        priority=priority,
        ignore_end=ignore_end,
        top_logprobs=top_logprobs,
        from_text=from_text,
        checkpoints=checkpoints,
    )


def tokens_of(results: list[list[Sampled | Unsampled]]) -> list[list[Sampled]]:
    """The scripted runner can always choose."""
    return [[one for one in result if isinstance(one, Sampled)] for result in results]


class Rig:
    """Events of every sequence by number, and the last step."""

    def __init__(
        self,
        runner: ScriptedRunner | None = None,
        *,
        max_running: int = 4,
        max_waiting: int = 64,
        shelf: Shelf | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.runner = runner or ScriptedRunner()
        self.arrivals: queue.SimpleQueue[Arrived] = queue.SimpleQueue()
        pacer = self.pacer = Pacer(0.5, self.runner.batch_tokens)
        for bits in range(self.runner.batch_tokens.bit_length()):
            pacer.costs.observe(1 << bits, 1.0)  # as on a machine that guesses whatever it can
        self.scheduler = Scheduler(
            self.runner,
            self.runner.vocabulary,
            pacer,
            max_running=max_running,
            max_waiting=max_waiting,
            drafter=self.runner.drafter,
            shelf=shelf,
            deliver=self.arrivals.put,
            clock=clock,
        )
        self.sequences: list[Sequence] = []
        self.events: dict[int, list[SequenceEvent]] = {}
        self.step_taken = Step()

    def submit(self, asked: GenerateRequest, *, at: float | None = None) -> Sequence:
        """`at` is the time of its arrival; now, if it does not matter."""
        sequence = Sequence(len(self.sequences), asked, self.runner.cells)
        if at is not None:
            sequence.times.submitted = at
        self.scheduler.submit(sequence)
        sequence.sampler = self.runner.make_sampler(
            asked.sampling,
            history=sequence.tokens,
            top_logprobs=asked.top_logprobs,
            ignore_end=asked.ignore_end,
            constraint=asked.constraint() if asked.constraint is not None else None,
        )
        self.sequences.append(sequence)
        self.events[sequence.number] = []
        return sequence

    def take_arrivals(self) -> None:
        """What was read from disk; waits for it where nothing else can be done."""
        restorer = self.scheduler.restorer
        while restorer is not None:
            waits = self.scheduler.waits_for_disk and not restorer.ready
            try:
                restorer.arrive(self.arrivals.get(waits, PATIENCE_SECONDS))
            except queue.Empty:
                return

    def save_all(self) -> None:
        """Write to disk what is kept, as at the end of a server."""
        assert self.scheduler.saver is not None
        self.scheduler.saver.flush(PATIENCE_SECONDS)

    def step(self) -> None:
        self.take_arrivals()
        step, outcome = self.scheduler.schedule()
        self.step_taken = step
        self._note(outcome)
        if not step.slices and self.scheduler.waits_for_disk:
            self.check()
            return
        assert step.slices, "there is work, and nothing was scheduled"
        try:
            step = self.step_taken = self.scheduler.draft(step)
            results = self.runner.run(step.slices)
        except Interrupted:
            pass
        except NoCells:
            self._note(self.scheduler.make_room(step))
        except DecodeFailed as failure:
            self._note(self.scheduler.fail(step, EngineFailed(str(failure))))
        else:
            self._note(self.scheduler.update(step, tokens_of(results)))
        self.check()

    def finish(self, most_steps: int = 5_000) -> None:
        """Step until nothing is left to do."""
        for _ in range(most_steps):
            if self.scheduler.idle:
                return
            self.step()
        raise AssertionError(f"not done after {most_steps} steps")

    def text(self, sequence: Sequence) -> str:
        events = self.events[sequence.number]
        return "".join(event.text for event in events if isinstance(event, Text))

    def ended(self, sequence: Sequence) -> Ended:
        last = self.events[sequence.number][-1]
        assert isinstance(last, Ended), last
        return last

    def step_of(self, sequence: Sequence) -> int:
        """How many tokens of the sequence the last step computed."""
        return sum(
            len(part.tokens)
            for one, part in zip(self.step_taken.sequences, self.step_taken.slices, strict=True)
            if one is sequence
        )

    def check(self) -> None:
        """What holds after each step."""
        scheduler, runner, tree = self.scheduler, self.runner, self.scheduler.cache.tree
        owners = [one.slot for one in scheduler.running] + list(scheduler.cache.kept)
        assert None not in owners
        assert all(count == 1 for count in Counter(owners).values()), f"shared slots: {owners}"
        for one in scheduler.running:
            assert one.slot is not None
            assert runner.held(one.slot) == one.tokens[: one.computed]
        for slot in runner.memory:
            assert tree.tokens(slot).tolist() == runner.held(slot)
            assert slot in owners or not runner.held(slot), f"slot {slot} leaks"
        assert all(runner.held(slot) for slot in scheduler.cache.kept)
        assert scheduler.cells_used == runner.cells_used <= scheduler.cells
        most_run = sum(one.computed for one in scheduler.running)
        assert max(0, runner.cells_used - most_run) <= scheduler.cells_kept <= runner.cells_used
        assert scheduler.running or scheduler.cells_kept == runner.cells_used
        assert scheduler.cache.checkpoints.size_bytes <= runner.checkpoint_bytes
        self._check_drafter()
        for one in scheduler.waiting:
            assert one.slot is None
            assert one.computed == 0

    def _check_drafter(self) -> None:
        """Its slots hold beginnings of what the model's hold, so none leaks."""
        drafter = self.runner.drafter
        if drafter is not None:
            assert drafter.cells_used <= drafter.cells
            for slot in drafter.memory:
                tokens = drafter.tokens(slot)
                assert tokens == self.runner.held(slot)[: len(tokens)], f"slot {slot} strays"

    def _note(self, outcome: Outcome) -> None:
        for sequence, event in outcome:
            before = self.events[sequence.number]
            assert not before or not isinstance(before[-1], Ended | Broken), "after its end"
            before.append(event)
