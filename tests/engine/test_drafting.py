"""A smaller model that guesses: when it is asked, what it computes, and that its slots follow."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence as Batch

import numpy as np
import pytest

from localserve.engine.draft_plan import NEAR, TRIAL_EVERY, TRIAL_LENGTH, TRIAL_ROUNDS
from localserve.engine.guessing import StepCosts
from localserve.engine.runner import Interrupted, Slice
from localserve.engine.scripted import END, Script, ScriptedDrafter, ScriptedRunner
from localserve.engine.sequence import Sequence
from tests.engine.rig import Rig, request

SLOW = {1: 0.030, 2: 0.058, 4: 0.11, 8: 0.216, 16: 0.4, 256: 6.0}
"""Steps of a machine on which every token costs the same."""


DRAFT_SECONDS = 0.005
"""What a step of the drafter takes by the clock of these tests."""


def costs(table: dict[int, float]) -> StepCosts:
    measured = StepCosts()
    for tokens, seconds in table.items():
        measured.observe(tokens, seconds)
    return measured


def new_words(text: bytes) -> int:
    """Says what it has not said before: nothing to look up."""
    return 20 + zlib.crc32(b"%d" % len(text)) % 200


def never_right(text: bytes) -> int:
    return 255


def right_for(share: int) -> Script:
    """Right but for every so many-th token."""

    def script(text: bytes) -> int:
        return 255 if len(text) % share == 0 else new_words(text)

    return script


def drafted(
    draft: Script = new_words, *, guess_tokens: int = 63, max_running: int = 4, **settings: object
) -> Rig:
    drafter = ScriptedDrafter(script=draft, **settings)  # type: ignore[arg-type]
    runner = ScriptedRunner(
        script=new_words, guess_tokens=guess_tokens, drafter=drafter, cells=4_096
    )
    drafter.cells = 4_096
    ticks = itertools.count()
    rig = Rig(runner, max_running=max_running, clock=lambda: next(ticks) * DRAFT_SECONDS)
    rig.pacer.costs = costs({1: 0.1, 4_096: 0.1})
    return rig


def drafter_of(rig: Rig) -> ScriptedDrafter:
    assert rig.runner.drafter is not None
    return rig.runner.drafter


def guesses(rig: Rig) -> list[int]:
    """How many tokens are guessed in each step until all is done."""
    counts = []
    while not rig.scheduler.idle:
        rig.step()
        counts.append(rig.step_taken.guessed_tokens)
    return counts


def plain_text(prompt: bytes, max_tokens: int) -> str:
    rig = Rig(ScriptedRunner(script=new_words, cells=4_096))
    sequence = rig.submit(request(prompt, max_tokens=max_tokens))
    rig.finish()
    return rig.text(sequence)


@pytest.mark.parametrize("draft", [new_words, never_right, right_for(3), right_for(7)])
def test_answers_are_the_same_whatever_the_drafter_guesses(draft: Script) -> None:
    rig = drafted(draft)
    prompts = [b"%c: something new\n" % name for name in b"abcd"]
    sequences = [rig.submit(request(prompt, max_tokens=90)) for prompt in prompts]
    rig.finish()
    for prompt, sequence in zip(prompts, sequences, strict=True):
        assert rig.text(sequence) == plain_text(prompt, 90)
        assert rig.ended(sequence).completion_tokens == 90


def test_a_drafter_that_is_right_saves_steps_and_is_told_of() -> None:
    rig = drafted()
    sequence = rig.submit(request(b"say\n", max_tokens=200))
    rig.finish()
    assert rig.runner.steps < 40
    ended = rig.ended(sequence)
    assert ended.right_tokens == ended.guessed_tokens > 150
    assert rig.scheduler.guessed_tokens == ended.guessed_tokens
    assert rig.scheduler.right_tokens == ended.right_tokens


def test_all_sequences_are_drafted_for_in_one_batch_for_each_token() -> None:
    rig = drafted()
    batches: list[int] = []
    drafter_of(rig).on_run = lambda batch: batches.append(len(batch))
    for name in b"wxyz":
        rig.submit(request(b"%c\n" % name, max_tokens=100))
    rig.finish()
    assert batches.count(4) > len(batches) / 2
    assert rig.runner.computed_tokens < 4 * 100 + 4 * 2 + 20


def test_what_was_guessed_right_is_not_computed_again() -> None:
    rig = drafted()
    rig.submit(request(b"say\n", max_tokens=200))
    rig.finish()
    assert drafter_of(rig).computed_tokens <= 204


def test_a_drafter_that_is_wrong_is_soon_asked_no_more() -> None:
    rig = drafted(never_right)
    rig.submit(request(b"say\n", max_tokens=400))
    counts = guesses(rig)
    assert 0 < sum(counts) < 40
    assert not any(counts[30:])
    assert len(counts) == 400


def test_a_plain_step_that_was_disturbed_keeps_no_wrong_drafter_in_work() -> None:
    """While every step has guesses, none tells what one without takes."""
    rig = drafted(never_right)
    rig.pacer.costs = costs({1: 2.0, 2: 0.1, 4_096: 0.1})
    rig.submit(request(b"say\n", max_tokens=200))
    assert sum(guesses(rig)) < 40


def test_the_next_answers_profit_from_what_was_learned() -> None:
    rig = drafted(never_right)
    rig.submit(request(b"one\n", max_tokens=300))
    first = sum(guesses(rig))
    rig.submit(request(b"two\n", max_tokens=300))
    assert sum(guesses(rig)) <= first / 2


def test_one_of_many_answers_tries_again() -> None:
    rig = drafted(never_right)
    rig.submit(request(b"one\n", max_tokens=300))
    rig.finish()
    drafter_of(rig).script = new_words  # as where other texts are asked for
    for number in range(2 * TRIAL_EVERY):
        rig.submit(request(b"%d\n" % number, max_tokens=60))
        rig.finish()
    later = rig.submit(request(b"later\n", max_tokens=100))
    rig.finish()
    assert rig.ended(later).right_tokens > 60


def test_on_a_machine_where_it_cannot_pay_only_the_first_guesses_are_tried() -> None:
    rig = drafted()
    rig.pacer.costs = costs(SLOW)
    rig.submit(request(b"say\n", max_tokens=100))
    rig.submit(request(b"say this\n", max_tokens=100))
    assert sum(guesses(rig)) <= TRIAL_ROUNDS * TRIAL_LENGTH


def test_where_prompt_lookup_knows_the_drafter_is_not_asked() -> None:
    rig = Rig(ScriptedRunner(guess_tokens=15, drafter=ScriptedDrafter(script=never_right)))
    wanted = b"def add(a, b): return a + b # and so on, for a while; " * 3
    sequence = rig.submit(request(b"copy this:\n" + wanted + b"\n"))
    rig.finish()
    assert rig.text(sequence).encode() == wanted
    assert drafter_of(rig).steps < 10
    assert rig.ended(sequence).right_tokens > len(wanted) / 2


def test_a_long_prompt_is_computed_by_the_drafter_in_chunks_within_a_step_s_time() -> None:
    rig = drafted(max_running=2, batch_tokens=512)
    sizes: list[int] = []
    drafter_of(rig).on_run = lambda batch: sizes.append(len(batch[0].tokens))
    rig.pacer.costs = costs({1: 0.2, 64: 0.21, 512: 4.0})
    for name in b"ab":
        rig.submit(request(bytes([name]) * 1_000 + b"\n", max_tokens=400))
    while not sizes:
        rig.step()
    assert sizes[0] == 256  # in a tenth of 1.8 s; 512 would take the step beyond its 0.5 s
    rig.finish()


def test_a_short_answer_to_a_long_prompt_is_not_drafted() -> None:
    rig = drafted(cost=1.0)
    rig.pacer.costs = costs({1: 0.1, 4_096: 20.0})
    sequence = rig.submit(request(b"x" * 1_500 + b"\n", max_tokens=4))
    rig.finish()
    assert rig.ended(sequence).completion_tokens == 4
    assert drafter_of(rig).computed_tokens == 0


def test_a_shared_beginning_is_computed_by_the_drafter_once() -> None:
    rig = drafted()
    for name in b"abcd":
        rig.submit(request(b"x" * 500 + b"%c\n" % name, max_tokens=60))
    rig.finish()
    assert 500 <= drafter_of(rig).computed_tokens < 500 + 4 * (60 + 60)


def test_the_next_turn_begins_with_what_the_drafter_has() -> None:
    rig = drafted()
    first = rig.submit(request(b"x" * 300 + b"\n", max_tokens=80))
    rig.finish()
    before = drafter_of(rig).computed_tokens
    rig.submit(request([*first.tokens, *b"and\n"], max_tokens=80))
    rig.finish()
    assert drafter_of(rig).computed_tokens - before < 80 + 2 * NEAR


def test_scopes_share_nothing_in_the_drafter_either() -> None:
    rig = drafted()
    for scope in ("one", "other"):
        rig.submit(request(b"x" * 300 + b"\n", max_tokens=60, scope=scope))
    rig.finish()
    assert drafter_of(rig).computed_tokens >= 600


@pytest.mark.parametrize("steps", range(0, 12, 3))
def test_what_is_cancelled_leaves_nothing_that_the_model_does_not_hold(steps: int) -> None:
    rig = drafted()
    sequences = [rig.submit(request(b"%c\n" % name, max_tokens=200)) for name in b"abcd"]
    for _ in range(steps):
        rig.step()
    for sequence in sequences[:2]:
        rig.scheduler.cancel(sequence)
        rig.check()
    rig.finish()
    assert rig.text(sequences[2]) == plain_text(b"c\n", 200)


def test_a_step_that_is_interrupted_while_drafting_leaves_nothing() -> None:
    rig = drafted()
    sequence = rig.submit(request(b"say\n", max_tokens=100))
    rig.step()
    rig.step()
    drafter, calls = drafter_of(rig), 0

    def interrupt(batch: object) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 3, 9):
            raise Interrupted

    drafter.on_run = interrupt
    rig.finish()
    assert calls > 9
    assert rig.text(sequence) == plain_text(b"say\n", 100)


def test_a_drafter_that_fails_is_asked_no_more_and_answers_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = drafted(broken=True)
    sequence = rig.submit(request(b"say\n", max_tokens=50))
    rig.finish()
    assert rig.text(sequence) == plain_text(b"say\n", 50)
    assert rig.runner.steps == 50
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "asked no more: the drafter is broken" in caplog.text


def test_a_drafter_without_cells_forgets_and_goes_on() -> None:
    rig = drafted()
    drafter_of(rig).cells = 150
    sequences = [rig.submit(request(b"%c\n" % name, max_tokens=120)) for name in b"abc"]
    rig.finish()
    assert [rig.text(one) for one in sequences] == [
        plain_text(b"%c\n" % name, 120) for name in b"abc"
    ]


def test_no_guess_reaches_beyond_the_end_of_an_answer() -> None:
    def ends(text: bytes) -> int:
        return END if len(text) > 40 else new_words(text)

    runner = ScriptedRunner(script=ends, guess_tokens=63, drafter=ScriptedDrafter(script=new_words))
    rig = Rig(runner)
    sequence: Sequence = rig.submit(request(b"say\n"))
    rig.finish()
    assert rig.ended(sequence).reason == "stop"
    short = rig.submit(request(b"say\n", max_tokens=2))
    rig.finish()
    assert rig.ended(short).completion_tokens == 2


# What drafting costs and brings, by the clock of a machine of which all is known

CORES = {1: 0.030, 2: 0.045, 4: 0.065, 8: 0.120, 16: 0.17, 32: 0.36, 64: 0.41, 512: 4.5}
GPU = {1: 0.010, 8: 0.0105, 64: 0.012, 512: 0.05}


class Machine:
    """Steps take what the table says; the drafter's a share of that."""

    def __init__(self, table: dict[int, float], share: float, draft: Script | None) -> None:
        self.seconds = 0.0
        self._tokens, self._seconds = list(table), list(table.values())
        self._share = share
        drafter = None
        if draft is not None:
            drafter = ScriptedDrafter(
                script=draft, cells=8_192, batch_tokens=512, cost=share, on_run=self._draft
            )
        runner = ScriptedRunner(
            script=new_words,
            guess_tokens=63,
            drafter=drafter,
            cells=8_192,
            batch_tokens=512,
            on_run=self._run,
        )
        self.rig = Rig(runner, clock=lambda: self.seconds)
        self.pacer = self.rig.pacer
        self.pacer.costs = StepCosts()

    def _of(self, batch: Batch[Slice]) -> float:
        tokens = sum(len(part.tokens) + len(part.guess) for part in batch)
        return float(np.interp(tokens, self._tokens, self._seconds))

    def _run(self, batch: Batch[Slice]) -> None:
        self.seconds += self._of(batch)

    def _draft(self, batch: Batch[Slice]) -> None:
        self.seconds += self._share * self._of(batch)

    def answer(self, streams: int, prompt_length: int, tokens: int) -> float:
        """Seconds for so many answers at once, after their prompts."""
        rig, began = self.rig, self.seconds
        for number in range(streams):
            prompt = b"%c" % (65 + number + len(rig.sequences)) * prompt_length + b"\n"
            rig.submit(request(prompt, max_tokens=tokens))
        while not rig.scheduler.idle:
            before = self.seconds
            rig.step()
            step = rig.step_taken
            if step.prompt_tokens:
                began = self.seconds
            drafting = self.seconds - before - self._of(step.slices)
            self.pacer.observe(
                step.answering,
                step.prompt_tokens,
                self.seconds - before - drafting,
                step.guessed_tokens,
            )
        return self.seconds - began


def times_as_fast(
    table: dict[int, float], share: float, draft: Script, streams: int = 1
) -> tuple[float, float]:
    """How many times as fast answers come as without: the first ones, and those after them."""
    plain = Machine(table, share, None).answer(streams, 200, 250)
    machine = Machine(table, share, draft)
    first, second = (machine.answer(streams, 200, 250) for _ in range(2))
    return plain / first, plain / second


@pytest.mark.parametrize("share", [0.05, 0.3])
@pytest.mark.parametrize("table", [CORES, GPU, SLOW], ids=["cores", "gpu", "slow"])
def test_where_a_drafter_is_wrong_it_costs_next_to_nothing(
    table: dict[int, float], share: float
) -> None:
    assert min(times_as_fast(table, share, never_right)) >= 0.97


def test_where_a_drafter_is_wrong_for_several_answers_it_costs_next_to_nothing() -> None:
    assert min(times_as_fast(GPU, 0.15, never_right, streams=3)) >= 0.97


def test_where_tokens_cost_little_together_a_good_drafter_doubles_the_rate() -> None:
    assert min(times_as_fast(GPU, 0.1, right_for(8))) > 2.0
    assert min(times_as_fast(GPU, 0.1, right_for(8), streams=3)) > 2.0


def test_where_tokens_cost_as_much_together_a_good_drafter_is_not_asked() -> None:
    assert min(times_as_fast(SLOW, 0.3, right_for(8))) >= 0.97
