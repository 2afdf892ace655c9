"""Whatever comes, in whatever order, and whatever fails: what must always hold."""

from __future__ import annotations

from collections.abc import Sequence as Batch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from localserve.chat import Priority
from localserve.engine.guessing import StepCosts
from localserve.engine.runner import DecodeFailed, Interrupted, NoCells, Slice
from localserve.engine.scripted import ScriptedDrafter, ScriptedRunner, echo
from localserve.engine.sequence import Broken, Ended, GenerateRequest
from tests.engine.rig import PairVocabulary, Rig, in_pairs, request

CELLS = 160
FAILURES = (NoCells(), Interrupted(), DecodeFailed("by chance"))

prompts = st.builds(
    lambda shared, own, answer: b"s" * shared + own + b"\n" + answer + b"\n",
    st.sampled_from([0, 0, 40, 90]),
    st.text("pq", max_size=30).map(str.encode),
    st.text("ab", max_size=80).map(str.encode),
).filter(lambda prompt: len(prompt) <= CELLS)


def answer_alone(asked: GenerateRequest, runner: ScriptedRunner) -> tuple[str, str, int]:
    """Text, reason and tokens of a request that nothing else disturbs."""
    rig = Rig(ScriptedRunner(cells=runner.cells, vocabulary=runner.vocabulary))
    sequence = rig.submit(asked)
    rig.finish()
    ended = rig.ended(sequence)
    return rig.text(sequence), ended.reason, ended.completion_tokens


def often_right(text: bytes) -> int:
    """What the model says, but for every seventh token."""
    return echo(text) if len(text) % 7 else ord("z")


class AnyTrace(RuleBasedStateMachine):
    """Drives a scheduler as the engine's thread would."""

    cuts_anywhere = True
    guess_tokens = 0
    in_any_tokens = False
    drafts = False

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        runner = ScriptedRunner(
            cells=CELLS,
            slots=5,
            batch_tokens=24,
            on_run=self._fail,
            guess_tokens=self.guess_tokens,
            cuts_anywhere=self.cuts_anywhere,
        )
        runner.checkpoint_bytes = 5_000
        if self.drafts:
            runner.drafter = ScriptedDrafter(
                cells=CELLS, batch_tokens=32, script=often_right, on_run=self._fail
            )
        if self.in_any_tokens:
            runner.vocabulary = PairVocabulary()
        self.rig = Rig(runner, max_running=4, max_waiting=200)
        if self.drafts:
            costs = self.rig.pacer.costs = StepCosts()
            for tokens in (1, CELLS):  # a step has time for all that may be guessed
                costs.observe(tokens, 0.1)
        self.cancelled: set[int] = set()

    def _fail(self, batch: Batch[Slice]) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure

    @rule(
        prompt=prompts,
        max_tokens=st.one_of(st.none(), st.integers(0, 200)),
        scope=st.sampled_from(["", "other"]),
        priority=st.sampled_from(Priority),
        ignore_end=st.booleans(),
        stop=st.sampled_from([(), (), ("bb",)]),
        places=st.sets(st.integers(0, CELLS), max_size=2),
    )
    def submit(
        self,
        prompt: bytes,
        max_tokens: int | None,
        scope: str,
        priority: Priority,
        ignore_end: bool,
        stop: tuple[str, ...],
        places: set[int],
    ) -> None:
        tokens = list(prompt)
        if self.in_any_tokens:  # with room for the answer in whatever tokens
            tokens = in_pairs(prompt[-120:], begin=min(places, default=0))
            max_tokens = min(max_tokens or 0, 30)
        self.rig.submit(
            request(
                tokens,
                max_tokens=max_tokens,
                scope=scope,
                priority=priority,
                ignore_end=ignore_end,
                stop=stop,
                from_text=self.in_any_tokens,
                checkpoints=tuple(sorted(places)),
            )
        )

    @precondition(lambda self: self.rig.sequences)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.rig.sequences))
        self.cancelled.add(sequence.number)
        self.rig.scheduler.cancel(sequence)
        self.rig.check()

    @precondition(lambda self: not self.rig.scheduler.idle)
    @rule(steps=st.integers(1, 12))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            if not self.rig.scheduler.idle:
                self.rig.step()

    @precondition(lambda self: not self.rig.scheduler.idle)
    @rule(failure=st.sampled_from(FAILURES))
    def fail_a_step(self, failure: Exception) -> None:
        self.failure = failure
        self.rig.step()

    @invariant()
    def no_more_run_than_may(self) -> None:
        assert len(self.rig.scheduler.running) <= 4

    def teardown(self) -> None:
        self.check_answers()

    def check_answers(self) -> None:
        """Let all that runs end; every answer is what it would have been alone."""
        rig = self.rig
        rig.finish()
        assert rig.scheduler.cells_used == rig.scheduler.cache.tree.held_cells(
            rig.scheduler.cache.kept
        )
        assert all(sampler.closed for sampler in rig.runner.samplers)
        for sequence in rig.sequences:
            if sequence.number in self.cancelled:
                continue
            last = rig.events[sequence.number][-1]
            assert isinstance(last, Ended | Broken)
            if isinstance(last, Ended):
                assert 0 <= last.cached_tokens < max(1, sequence.asked_tokens)
                given = (rig.text(sequence), last.reason, last.completion_tokens)
                assert given == answer_alone(sequence.request, rig.runner)


class AnyTraceOfAMemoryThatCannotBeCut(AnyTrace):
    cuts_anywhere = False


class AnyTraceWithGuesses(AnyTrace):
    guess_tokens = 12


class AnyTraceWithADrafter(AnyTrace):
    guess_tokens = 12
    drafts = True


class AnyTraceOfTextsInAnyTokens(AnyTrace):
    in_any_tokens = True
    guess_tokens = 5


class AnyTraceOfTextsThatCannotBeCut(AnyTrace):
    cuts_anywhere = False
    in_any_tokens = True


TestAnyTrace = AnyTrace.TestCase
TestAnyTrace.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestAnyTraceOfTextsInAnyTokens = AnyTraceOfTextsInAnyTokens.TestCase
TestAnyTraceOfTextsInAnyTokens.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None
)
TestAnyTraceOfTextsThatCannotBeCut = AnyTraceOfTextsThatCannotBeCut.TestCase
TestAnyTraceOfTextsThatCannotBeCut.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None
)
TestAnyTraceOfAMemoryThatCannotBeCut = AnyTraceOfAMemoryThatCannotBeCut.TestCase
TestAnyTraceOfAMemoryThatCannotBeCut.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None
)
TestAnyTraceWithGuesses = AnyTraceWithGuesses.TestCase
TestAnyTraceWithGuesses.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyTraceWithADrafter = AnyTraceWithADrafter.TestCase
TestAnyTraceWithADrafter.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
