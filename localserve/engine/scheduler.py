"""Decides what is computed next, and whose cells make room for it. Pure but for the memory it owns.

Four verbs, always in this order on the engine thread: `schedule` says what the next step computes,
`draft` asks a smaller model for its guesses, the runner runs the step, `update` takes the results
over. The scheduler knows no prompts and no answers,
only sequences whose `computed` is to catch up with their tokens. It never lets the sum of cells
exceed the budget: when cells run short, kept prefixes go first, then the sequence that is last in
rank (`fairness.py`) pauses. It becomes a kept prefix, and what is lost of that is computed again
later.

A new sequence goes on from the longest beginning that lies in the cells, of whomever (`cache.py`);
where someone is just computing a longer one, or one is being read from disk, it waits for that.
"""

from __future__ import annotations

import math
import time
from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from localserve.chat import Priority
from localserve.engine.cache import WORTH_SHARING, PrefixCache
from localserve.engine.disk.restoring import Arrived, Restorer
from localserve.engine.disk.saving import Saver
from localserve.engine.disk.shelf import Shelf
from localserve.engine.drafting import Drafting
from localserve.engine.fairness import (
    last_in_rank,
    leaves_a_place,
    rank,
    share_out,
    yielding_to,
)
from localserve.engine.guessing import Guess, Lookup, share_guesses
from localserve.engine.pacer import Pacer
from localserve.engine.prefixes import common_length
from localserve.engine.runner import Drafter, Memory, Sampled, Slice, Vocabulary
from localserve.engine.sequence import Admitted, Broken, Ended, Sequence, SequenceEvent
from localserve.errors import (
    ContextOverflow,
    EngineFailed,
    InvalidRequest,
    LocalserveError,
    Overloaded,
)

WORTH_THE_CELLS = 128
"""So many tokens to compute, of prompts or answers, are worth that kept prefixes go to disk for
them: for each cell in use they take about as much longer as reading it back takes."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to compute: parallel tuples, one slice per sequence.

    `drafts` says how many tokens of each the drafter is to guess before; empty where none.
    """

    sequences: tuple[Sequence, ...] = ()
    slices: tuple[Slice, ...] = ()
    drafts: tuple[int, ...] = ()

    @property
    def answering(self) -> int:
        """Sequences that get a single token after another, as running answers do."""
        return sum(len(part.tokens) == 1 for part in self.slices)

    @property
    def guessed_tokens(self) -> int:
        return sum(len(part.guess) for part in self.slices)

    @property
    def prompt_tokens(self) -> int:
        return sum(len(part.tokens) for part in self.slices if len(part.tokens) > 1)


Outcome = list[tuple[Sequence, SequenceEvent]]
"""Events in the order in which they are to be given out."""


class Scheduler:
    """Waiting and running sequences, over the cells that `cache` gives them.

    With a `shelf`, prefixes are written to disk by `saver` and read back by `restorer`, which calls
    `deliver` on other threads.
    """

    def __init__(
        self,
        memory: Memory,
        vocabulary: Vocabulary,
        pacer: Pacer,
        *,
        max_running: int,
        max_waiting: int,
        drafter: Drafter | None = None,
        clock: Callable[[], float] = time.monotonic,
        shelf: Shelf | None = None,
        deliver: Callable[[Arrived], None] = lambda arrived: None,
    ) -> None:
        self._memory = memory
        self._vocabulary = vocabulary
        self._pacer = pacer
        self._max_running = min(max_running, memory.slots)
        self._max_waiting = max_waiting
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.cache = PrefixCache(memory, vocabulary, clock)
        self._drafting: Drafting | None = None
        if drafter is not None:
            self._drafting = Drafting(drafter, self.cache.tree, pacer, clock)
        self.guessed_tokens = 0
        self.right_tokens = 0
        self.saver: Saver | None = None
        self.restorer: Restorer | None = None
        if shelf is not None:
            self.saver = Saver(self.cache, memory, shelf, clock)
            self.cache.before_loss = self.saver.spill
            self.restorer = Restorer(self.cache, memory, vocabulary, shelf, pacer, deliver, clock)
        self._cleared_for = -1
        self._crowded = False  # the memory holds less than its cells; until someone leaves

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    @property
    def waits_for_disk(self) -> bool:
        """Whether nothing can be computed before something has been read."""
        return self.restorer is not None and self.restorer.busy and not self.running

    @property
    def cells(self) -> int:
        """The budget."""
        return self._memory.cells

    @property
    def cells_used(self) -> int:
        """Cells in use, shared ones once; never more than the memory has."""
        return self.cache.tree.cells

    @property
    def step_budget_seconds(self) -> float:
        """The longest that a step may take while answers run."""
        return self._pacer.budget_seconds

    @property
    def cells_kept(self) -> int:
        """Of those in use, the ones that no running sequence holds."""
        tree = self.cache.tree
        return tree.cells - tree.held_cells(
            one.slot for one in self.running if one.slot is not None
        )

    # What comes in

    def submit(self, *sequences: Sequence) -> None:
        """Let new sequences wait for their turn: all of them, or none.

        Raises: ContextOverflow; InvalidRequest, when there could never be a place for so many;
        Overloaded, when more would wait than may, beyond those for whom there is a place at once.
        """
        may_wait = self._may_wait(sequences)
        most = may_wait + self._max_running
        if len(sequences) > most:
            raise InvalidRequest(
                f"The request asks for {len(sequences)} answers; this server takes {most} at once.",
                param="n",
                hint="Ask for fewer choices of fewer prompts.",
            )
        for sequence in sequences:
            if sequence.prompt_length > self._memory.cells:
                raise ContextOverflow(sequence.prompt_length, self._memory.cells, param="prompt")
        new = sum(1 for other in self.waiting if other.pauses == 0)
        if new + len(sequences) > may_wait + max(0, self._max_running - len(self.running)):
            raise Overloaded(
                f"{new} requests wait already; this server lets {may_wait} wait.",
                retry_after_seconds=5,
                hint="Try again in a few seconds, or start with a larger LOCALSERVE_MAX_WAITING.",
            )
        for sequence in sequences:
            self._enqueue(sequence)

    def _may_wait(self, newcomers: Iterable[Sequence]) -> int:
        """Background work takes no more than half of the queue."""
        background = any(one.request.priority is Priority.BACKGROUND for one in newcomers)
        return self._max_waiting // 2 if background else self._max_waiting

    def cancel(self, sequence: Sequence) -> None:
        """Forget the sequence; its computed prefix is kept. Harmless when it has ended."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
            self._forget_on_disk(sequence)
            sequence.close()
        elif sequence in self.running:
            self._leave(sequence)

    # What is computed next

    def schedule(self) -> tuple[Step, Outcome]:
        """Admit what there is room for, and choose the tokens of the next step."""
        answers = sum(sequence.pending == 1 for sequence in self.running)
        share = self._pacer.side_work_seconds(answers)
        if self.saver is not None:
            self.saver.begin_step(share, answering=answers > 0)
        if self.restorer is not None:
            self.restorer.place(share if answers else math.inf)
        outcome = self._admit()
        answering = [sequence for sequence in self.running if sequence.pending == 1]
        while len(answering) > self.cache.free_cells:
            if not self.cache.give_up(len(answering) - self.cache.free_cells):
                self._pause(last_in_rank(self.running))
                answering = [sequence for sequence in answering if sequence.slot is not None]
        chosen = [(sequence, 1) for sequence in answering]
        chosen += self._chunks(len(answering))
        guesses, drafts = self._guess(answering) if len(chosen) == len(answering) else ({}, ())
        slices = tuple(_slice(one, count, guesses.get(one.number, ())) for one, count in chosen)
        return Step(tuple(sequence for sequence, _ in chosen), slices, drafts), outcome

    def _chunks(self, answering: int) -> list[tuple[Sequence, int]]:
        """Share out what prompt tokens the step has time and cells for."""
        behind = [sequence for sequence in self.running if sequence.pending > 1]
        if not behind:
            return []
        # Whoever comes meanwhile waits for the end of the step: not long for background work.
        hurry = all(one.request.priority is Priority.BACKGROUND for one in behind)
        budget = self._pacer.chunk_tokens(answering, hurry=hurry)
        if len(behind) == 1 and answering:
            budget = self._pacer.first_part(behind[0].pending, budget, answering)
        wanted = min(budget, sum(sequence.pending for sequence in behind))
        while (short := wanted + answering - self.cache.free_cells) > 0:
            if not self.cache.give_up(short):
                break
        free = self.cache.free_cells - answering
        if free <= 0:
            return self._make_way(answering)
        shares = share_out(behind, min(budget, free))
        return [(sequence, self._up_to_a_stop(sequence, count)) for sequence, count in shares]

    def _up_to_a_stop(self, sequence: Sequence, count: int) -> int:
        """No more of `count` tokens than up to where those who wait for the sequence go on by
        themselves, so that all are computed together from there, or where a checkpoint is due."""
        stops = (at - sequence.computed for at in self._stops(sequence))
        return min(count, min((stop for stop in stops if stop > 0), default=count))

    def _stops(self, sequence: Sequence) -> set[int]:
        leaders = (other.leader for other in self.waiting if other.leader)
        stops = {length for leader, length in leaders if leader is sequence}
        if self._memory.saves:
            stops.update(at for at in sequence.checkpoints if at >= WORTH_SHARING)
        return stops

    def _make_way(self, answering: int) -> list[tuple[Sequence, int]]:
        """No cell is left for prompts: pause one sequence if nothing else could go on."""
        if answering == 0:
            self._pause(last_in_rank(self.running))
            return self._chunks(answering)
        return []

    def _guess(self, answering: list[Sequence]) -> tuple[dict[int, Guess], tuple[int, ...]]:
        """What is guessed of whose answer, by number, and how much more the drafter is to guess of
        each."""
        most = min(self._memory.guess_tokens, self._pacer.batch_tokens - len(answering))
        if most <= 0:
            return {}, ()
        guesses = self._look_up(answering, most)
        drafts: list[int] = []
        if self._drafting is not None:
            left = most - sum(map(len, guesses))
            drafts = self._drafting.plan(answering, guesses, left)
        wanted = len(answering) + sum(map(len, guesses)) + sum(drafts)
        while (short := wanted - self.cache.free_cells) > 0 and self.cache.give_up(short):
            pass  # the answers themselves would soon need them
        if self.cache.free_cells < wanted:
            return {}, ()
        found = {one.number: guess for one, guess in zip(answering, guesses, strict=True)}
        return found, tuple(drafts)

    def _look_up(self, answering: list[Sequence], most: int) -> list[Guess]:
        """What the sequences' own conversations let guess."""
        asked = []
        for sequence in answering:
            if sequence.lookup is None:
                sequence.lookup = Lookup(sequence.tokens)
            sequence.guesser = sequence.lookup
            asked.append((sequence.lookup, sequence.limit - sequence.answer_length - 1))
        return share_guesses(asked, most, self._pacer)

    def draft(self, step: Step) -> Step:
        """The step with what the drafter guesses. Raises: Interrupted."""
        if self._drafting is None or not step.drafts:
            return step
        guesses = self._drafting.guess(step.sequences, step.drafts)
        slices = []
        for sequence, part, guess in zip(step.sequences, step.slices, guesses, strict=True):
            if guess:
                sequence.guesser = sequence.draft
            slices.append(replace(part, guess=guess) if guess else part)
        return Step(step.sequences, tuple(slices))

    # What came out

    def update(self, step: Step, results: Iterable[Iterable[Sampled]]) -> Outcome:
        """Take over what the step computed and sampled."""
        outcome: Outcome = []
        for sequence, part, sampled in zip(step.sequences, step.slices, results, strict=True):
            reached = sequence.computed + len(part.tokens)
            due = self._memory.saves and reached in self._stops(sequence)
            self.cache.advance(sequence, part.tokens, checkpoint=due)
            outcome += [(sequence, event) for event in sequence.progress()]
            if part.sampler is not None:
                events = self._take(sequence, part, list(sampled))
            elif sequence.limit <= 0 and sequence.pending == 0:
                events = sequence.end_without_answer()
            else:
                continue
            outcome.extend((sequence, event) for event in events)
            if events and isinstance(events[-1], Ended):
                self._leave(sequence)
        return outcome

    def _take(self, sequence: Sequence, part: Slice, sampled: list[Sampled]) -> list[SequenceEvent]:
        """Take over a sequence's new tokens, up to the one that ends it."""
        events: list[SequenceEvent] = []
        if part.guess:
            self._count_guesses(sequence, len(part.guess), len(sampled) - 1)
        for one in sampled:
            raw = self._vocabulary.piece(one.token)
            events += sequence.take(one, raw, self._vocabulary.is_end(one.token))
            if events and isinstance(events[-1], Ended):
                break
        if part.guess:
            self._keep_right_guesses(sequence, part, len(sampled) - 1)
        return events

    def _count_guesses(self, sequence: Sequence, guessed: int, right: int) -> None:
        sequence.guessed_tokens += guessed
        sequence.right_tokens += right
        self.guessed_tokens += guessed
        self.right_tokens += right

    def _keep_right_guesses(self, sequence: Sequence, part: Slice, right: int) -> None:
        """The first `right` tokens of the guess lie in the slot; not all, if the answer ended."""
        if sequence.guesser is not None:
            sequence.guesser.settle(len(part.guess), right)
        kept = min(right, sequence.pending)
        self.cache.advance(sequence, part.guess[:kept])
        if kept < right:
            self.cache.cut(sequence, sequence.computed)

    def fail(self, step: Step, error: LocalserveError) -> Outcome:
        """The step could not be computed: its sequences fail, all others go on."""
        outcome: Outcome = []
        for sequence in step.sequences:
            self.cache.cut(sequence, 0)
            self._leave(sequence)
            outcome.append((sequence, Broken(error)))
        return outcome

    def make_room(self, step: Step) -> Outcome:
        """The runner found no cells for the step although the budget had them: use fewer."""
        if len(self.cache.kept):
            while self.cache.give_up(self._memory.cells):
                pass
            return []
        if len(self.running) > 1:
            self._pause(last_in_rank(self.running))
            self._crowded = True
            return []
        return self.fail(step, EngineFailed("The model's memory had no room for the request."))

    def retire(self) -> None:
        """Keep what is computed of the running sequences; they are not computed any further."""
        for sequence in self.running:
            if sequence.slot is not None:
                self.cache.keep(sequence)

    def fail_all(self, error: LocalserveError) -> Outcome:
        """Nothing will be computed any more."""
        everyone = [*self.running, *self.waiting]
        for sequence in self.waiting:
            self._forget_on_disk(sequence)
        self.running, self.waiting = [], []
        for sequence in everyone:
            sequence.close()
        return [(sequence, Broken(error)) for sequence in everyone]

    # Admission

    def _admit(self) -> Outcome:
        outcome: Outcome = []
        for sequence in list(self.waiting):
            if self._crowded and self.running:
                break
            yielding = yielding_to(sequence, self.running)
            if len(self.running) >= self._max_running and not yielding:
                break
            if sequence.reuses and self._follows_another(sequence):
                continue
            if not leaves_a_place(sequence, self.running, self._max_running):
                continue
            if not self._fits(sequence, [one for one in self.running if one not in yielding]):
                break
            self._set_aside()
            if self.restorer is not None and self.restorer.brings(sequence):
                continue
            self._make_room_for(sequence, yielding)
            self.waiting.remove(sequence)
            self._forget_on_disk(sequence)
            sequence.claim = sequence.wanted_cells(self._memory.cells)
            self.cache.begin(sequence)
            self.running.append(sequence)
            if sequence.times.admitted == 0.0:
                sequence.times.admitted = time.monotonic()
                outcome.append((sequence, Admitted(sequence.asked_tokens)))
                outcome += [(sequence, event) for event in sequence.progress()]
        return outcome

    def _set_aside(self) -> None:
        """Leave the cells to those that come while nothing runs, if much is to be computed."""
        newest = max(one.number for one in self.waiting)
        if self.saver is None or self.running or newest <= self._cleared_for:
            return
        self._cleared_for = newest
        if self._memory.crowding_slows and sum(map(self._work, self.waiting)) >= WORTH_THE_CELLS:
            sources = [self.cache.source_of(one) for one in self.waiting]
            self.saver.set_aside(self._pacer.side_work_seconds(1), sources)

    def _work(self, sequence: Sequence) -> int:
        """Tokens that may be computed; whoever types gets a short answer."""
        typing = sequence.request.priority is Priority.INTERACTIVE
        return self.cache.left_of(sequence) + (0 if typing else sequence.limit)

    def _forget_on_disk(self, sequence: Sequence) -> None:
        if self.restorer is not None:
            self.restorer.forget(sequence)

    def _make_room_for(self, newcomer: Sequence, yielding: list[Sequence]) -> None:
        """Pause those that yield to it, the last in rank first, until it has a place and cells."""
        while not self._fits(newcomer, self.running):
            self._pause(yielding.pop(0))

    def _fits(self, newcomer: Sequence, running: list[Sequence]) -> bool:
        if len(running) >= self._max_running:
            return False
        wanted = newcomer.wanted_cells(self._memory.cells)
        return not running or self._promised(newcomer, running) + wanted <= self._memory.cells

    def _promised(self, newcomer: Sequence, running: list[Sequence]) -> int:
        """Cells that running sequences hold or may still claim, less those of them that the
        newcomer will share."""
        slots = [other.slot for other in running if other.slot is not None]
        growth = sum(other.footprint - other.computed for other in running)
        shared = self.cache.shared_with(newcomer, slots)
        return self.cache.tree.held_cells(slots) + growth - shared

    def _follows_another(self, sequence: Sequence) -> bool:
        """Whether another sequence is just computing a beginning that this one can share."""
        if sequence.leader is not None:
            leader, length = sequence.leader
            if leader in self.running and leader.computed < length:
                return True
            sequence.leader = None
        prompt = sequence.prompt[:-1]
        enough = self.cache.length_of(sequence.request.scope, prompt) + WORTH_SHARING
        for other in self.running:
            if self._may_lead(other, sequence):
                length = common_length(other.prompt, prompt)
                if length >= enough and other.computed < length:
                    sequence.leader = (other, length)
                    return True
        return False

    def _may_lead(self, leader: Sequence, follower: Sequence) -> bool:
        """Whoever waits for another does not get a lower priority by that."""
        mine, theirs = follower.request, leader.request
        return (
            mine.scope == theirs.scope and theirs.priority >= mine.priority and leader.pending > 1
        )

    def _pause(self, sequence: Sequence) -> None:
        """Let the sequence wait again; what is computed of it may go like any kept prefix."""
        self.running.remove(sequence)
        self.cache.keep(sequence)
        sequence.computed = 0
        sequence.pauses += 1
        self._enqueue(sequence)

    def _leave(self, sequence: Sequence) -> None:
        """The sequence runs no more; what is computed of it is kept."""
        self.running.remove(sequence)
        self._crowded = False
        self.cache.keep(sequence)
        sequence.close()

    def _enqueue(self, sequence: Sequence) -> None:
        insort(self.waiting, sequence, key=rank)


def _slice(sequence: Sequence, count: int, guess: Guess = ()) -> Slice:
    assert sequence.slot is not None
    start = sequence.computed
    last = start + count == len(sequence.tokens)
    return Slice(
        slot=sequence.slot,
        start=start,
        tokens=sequence.tokens[start : start + count],
        sampler=sequence.sampler if last and sequence.limit > 0 else None,
        guess=guess,
    )
