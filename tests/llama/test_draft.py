"""A small model that guesses for another, on real contexts stepped by hand on this thread."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from localserve.chat import DEFAULT_SAMPLING, Sampling
from localserve.engine.guessing import StepCosts
from localserve.engine.pacer import Pacer
from localserve.engine.runner import DecodeFailed, Interrupted, NoCells, Sampled, Slice, TokenChunk
from localserve.engine.scheduler import Scheduler
from localserve.engine.sequence import Ended, GenerateRequest, Sequence
from localserve.errors import OutOfMemory
from localserve.llama.draft import LlamaDraft
from localserve.llama.model import LlamaModel
from localserve.llama.runner import LlamaRunner
from localserve.planner.companions import runtime_of_draft
from localserve.planner.runtime import Runtime
from tests.conftest import make_tiny

GREEDY = replace(DEFAULT_SAMPLING, temperature=0.0)
NOISE = {"F16": 0.01, "Q4_K_M": 0.15}
"""As in test_runner.py."""

DRAWS = 800

Open = Callable[[Path, Path], LlamaRunner]


@pytest.fixture(scope="module")
def other_f16(model_folder: Path) -> Path:
    """Random weights of another seed: it is hardly ever right."""
    return make_tiny(model_folder / "other-f16.gguf", "F16", seed=1)


@pytest.fixture
def opened() -> Iterator[Open]:
    runners: list[LlamaRunner] = []

    def open_pair(target: Path, draft: Path) -> LlamaRunner:
        runtime = Runtime(4_096, 8, guess_tokens=63, gpu_layers=0)
        draft_model = LlamaModel(draft, runtime_of_draft(runtime))
        model = LlamaModel(target, runtime)
        runners.append(LlamaRunner(model, runtime, threads=1, draft_model=draft_model))
        return runners[-1]

    yield open_pair
    for runner in runners:
        check_slots(runner)
        runner.close()


def drafter_of(runner: LlamaRunner) -> LlamaDraft:
    assert runner.drafter is not None
    return runner.drafter


def newest(context_of: LlamaRunner | LlamaDraft, slot: int) -> int:
    """How many tokens llama.cpp itself holds of a slot."""
    return int(llama_cpp.llama_memory_seq_pos_max(context_of._memory, slot)) + 1


def check_slots(runner: LlamaRunner) -> None:
    """The drafter's slots hold what it says, and no more than the model's."""
    drafter = drafter_of(runner)
    for slot in range(runner.slots):
        assert newest(drafter, slot) == drafter.held(slot) <= newest(runner, slot)


@dataclass(frozen=True)
class Outcome:
    answers: list[list[int]]
    margins: list[list[float]]
    """By how much the best token was ahead of the next."""
    ended: list[Ended]
    steps: int


def prompt_of(seed: int, length: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, 2_000, size=length).tolist()


def answer(
    runner: LlamaRunner,
    prompts: list[list[int]],
    count: int,
    *,
    drafts: bool,
    cancel_after: int | None = None,
) -> Outcome:
    """What follows the prompts, computed together as the engine does; the first sequence may be
    cancelled on the way."""
    ticks = itertools.count()
    pacer = Pacer(10.0, runner.batch_tokens)
    scheduler = Scheduler(
        runner,
        runner.vocabulary,
        pacer,
        max_running=4,
        max_waiting=8,
        drafter=runner.drafter if drafts else None,
        clock=lambda: next(ticks) * 0.001,
    )
    if drafts:  # as on a machine where a step takes as long whatever it computes
        assert runner.drafter is not None
        runner.drafter.cost = 0.1
        pacer.costs = StepCosts()
        for tokens in (1, runner.batch_tokens):
            pacer.costs.observe(tokens, 0.1)
    sequences = []
    for number, prompt in enumerate(prompts):
        asked = GenerateRequest(
            (TokenChunk(tuple(prompt)),), GREEDY, max_tokens=count, ignore_end=True
        )
        sequence = Sequence(number, asked, runner.cells)
        sequence.sampler = runner.make_sampler(
            GREEDY, history=prompt, top_logprobs=2, ignore_end=True
        )
        scheduler.submit(sequence)
        sequences.append(sequence)
    ended: list[Ended] = []
    margins: dict[int, list[float]] = {sequence.number: [] for sequence in sequences}
    steps = 0
    while not scheduler.idle:
        step, _ = scheduler.schedule()
        step = scheduler.draft(step)
        results = [
            [one for one in result if isinstance(one, Sampled)]
            for result in runner.run(step.slices)
        ]
        for sequence, result in zip(step.sequences, results, strict=True):
            margins[sequence.number] += [one.top[0].logprob - one.top[1].logprob for one in result]
        ended += [one for _, one in scheduler.update(step, results) if isinstance(one, Ended)]
        check_slots(runner)
        steps += 1
        if steps == cancel_after:
            scheduler.cancel(sequences[0])
    for slot in range(runner.slots):
        runner.truncate(slot, 0)
    answers = [sequence.tokens[sequence.prompt_length :] for sequence in sequences]
    return Outcome(answers, list(margins.values()), ended, steps)


def agree(one: Outcome, other: Outcome, noise: float) -> None:
    """The same tokens, up to where the two best were within the noise of a batch."""
    for index, (first, second) in enumerate(zip(one.answers, other.answers, strict=True)):
        assert len(first) == len(second)
        differing = (at for at in range(len(first)) if first[at] != second[at])
        at = next(differing, None)
        assert at is None or one.margins[index][at] <= 2 * noise, (index, at)


@pytest.mark.parametrize(("weights", "share"), [("F16", 0.75), ("Q4_K_M", 0.5)])
def test_a_draft_that_is_the_model_itself_is_right_but_for_the_noise_of_batches(
    weights: str, share: float, opened: Open, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(f"tiny_{weights.lower()}")
    runner = opened(path, path)
    prompts = [prompt_of(seed, 20 + 30 * seed) for seed in range(4)]
    plain = answer(runner, prompts, 80, drafts=False)
    ahead = answer(runner, prompts, 80, drafts=True)
    agree(plain, ahead, NOISE[weights])
    assert ahead.steps < plain.steps / 3
    for ended in ahead.ended:
        assert ended.guessed_tokens > 40
        assert ended.right_tokens > share * ended.guessed_tokens


def test_a_draft_of_other_weights_changes_no_answer_and_is_soon_asked_no_more(
    tiny_f16: Path, other_f16: Path, opened: Open
) -> None:
    runner = opened(tiny_f16, other_f16)
    prompts = [prompt_of(seed, 40) for seed in range(3)]
    plain = answer(runner, prompts, 120, drafts=False)
    ahead = answer(runner, prompts, 120, drafts=True)
    agree(plain, ahead, NOISE["F16"])
    for ended in ahead.ended:
        assert 0 < ended.guessed_tokens < 60
        assert ended.right_tokens < 0.3 * ended.guessed_tokens


def test_a_beginning_that_slots_share_is_shared_in_the_drafter(
    tiny_f16: Path, opened: Open
) -> None:
    runner = opened(tiny_f16, tiny_f16)
    computed = 0
    likeliest = drafter_of(runner).likeliest

    def counting(batch: list[Slice]) -> list[int]:
        nonlocal computed
        computed += sum(len(part.tokens) for part in batch)
        return likeliest(batch)

    drafter_of(runner).likeliest = counting  # type: ignore[method-assign, assignment]
    common = prompt_of(1, 600)
    prompts = [[*common, *prompt_of(seed, 5)] for seed in range(2, 6)]
    plain = answer(runner, prompts, 40, drafts=False)
    ahead = answer(runner, prompts, 40, drafts=True)
    agree(plain, ahead, NOISE["F16"])
    assert 600 <= computed < 1_200


@pytest.mark.parametrize("cancel_after", [1, 3, 5])
def test_what_is_cancelled_leaves_no_cells_in_the_drafter(
    cancel_after: int, tiny_f16: Path, opened: Open
) -> None:
    runner = opened(tiny_f16, tiny_f16)
    prompts = [prompt_of(seed, 30) for seed in range(3)]
    plain = answer(runner, prompts[1:], 60, drafts=False)
    rest = answer(runner, prompts, 60, drafts=True, cancel_after=cancel_after)
    agree(plain, Outcome(rest.answers[1:], rest.margins[1:], rest.ended, 0), NOISE["F16"])
    assert all(newest(drafter_of(runner), slot) == 0 for slot in range(runner.slots))


def test_guesses_leave_the_distribution_of_sampled_tokens_as_it_is(
    tiny_f16: Path, other_f16: Path, opened: Open
) -> None:
    """Two tokens drawn behind one prompt, many times, with a guess of each and without: the
    counts of all pairs are those of one distribution (chi-square, homogeneity)."""
    runner = opened(tiny_f16, other_f16)
    prompt = prompt_of(7, 24)
    runner.run([Slice(0, 0, prompt[:-1], None)])
    ((best, _),) = pairs(runner, prompt, range(40), ()).most_common(1)
    plain = pairs(runner, prompt, range(1_000, 1_000 + DRAWS), ())
    for guess in (best, (best[0] ^ 1,)):
        guessed = pairs(runner, prompt, range(5_000, 5_000 + DRAWS), guess)
        common = [pair for pair in plain if plain[pair] + guessed[pair] >= 40]
        assert len(common) >= 6
        counts = np.array([[arm[pair] for pair in common] for arm in (plain, guessed)], float)
        rare = DRAWS - counts.sum(axis=1, keepdims=True)
        counts = np.hstack([counts, rare]) if rare.sum() >= 40 else counts
        expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
        statistic = float(((counts - expected) ** 2 / expected).sum())
        freedom = counts.shape[1] - 1
        assert statistic < freedom + 4 * np.sqrt(2 * freedom) + 8, (guess, statistic, freedom)


def pairs(
    runner: LlamaRunner, prompt: list[int], seeds: range, guess: tuple[int, ...]
) -> Counter[tuple[int, int]]:
    """The first two tokens of an answer, one draw for each seed."""
    found: Counter[tuple[int, int]] = Counter()
    sampling = Sampling(temperature=3.0, top_k=3).over(DEFAULT_SAMPLING)
    for seed in seeds:
        sampler = runner.make_sampler(
            replace(sampling, seed=seed), history=prompt, top_logprobs=None, ignore_end=True
        )
        runner.truncate(0, len(prompt) - 1)
        (results,) = runner.run([Slice(0, len(prompt) - 1, prompt[-1:], sampler, guess)])
        tokens = [one.token for one in results if isinstance(one, Sampled)]
        if len(tokens) == 1:
            (more,) = runner.run([Slice(0, len(prompt), tokens, sampler)])
            tokens += [one.token for one in more if isinstance(one, Sampled)]
        found[tokens[0], tokens[1]] += 1
        sampler.close()
    return found


def test_a_drafter_computes_what_its_slots_lack_and_shares_what_they_hold(
    tiny_f16: Path, opened: Open
) -> None:
    runner = opened(tiny_f16, tiny_f16)
    drafter, prompt = drafter_of(runner), prompt_of(3, 50)
    sampler = runner.make_sampler(GREEDY, history=[], top_logprobs=None, ignore_end=False)
    ((sampled,),) = runner.run([Slice(0, 0, prompt, sampler)])
    assert isinstance(sampled, Sampled)
    assert drafter.held(0) == 0
    assert drafter.likeliest([Slice(0, 0, prompt, None)]) == [sampled.token]
    assert drafter.held(0) == 50
    assert runner.share(0, 1, 30) == 30
    assert drafter.held(1) == 30
    assert drafter.likeliest([Slice(1, 30, prompt[30:], None)]) == [sampled.token]
    runner.truncate(1, 30)
    runner.truncate(0, 0)
    assert (drafter.held(0), drafter.held(1)) == (0, 30)
    drafter.clear()
    assert drafter.held(1) == newest(drafter, 1) == 0


@pytest.mark.parametrize(("code", "error"), [(1, NoCells), (2, Interrupted), (-1, DecodeFailed)])
def test_a_step_that_fails_leaves_the_drafter_as_it_was(
    code: int, error: type[Exception], tiny_f16: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = opened(tiny_f16, tiny_f16)
    drafter, prompt = drafter_of(runner), prompt_of(3, 20)
    runner.run([Slice(0, 0, prompt, None)])
    drafter.likeliest([Slice(0, 0, prompt[:10], None)])
    decode = llama_cpp.llama_decode

    def fails(context: object, batch: object) -> int:
        decode(context, batch)
        return code

    monkeypatch.setattr(llama_cpp, "llama_decode", fails)
    with pytest.raises(error):
        drafter.likeliest([Slice(0, 10, prompt[10:], None)])
    assert drafter.held(0) == newest(drafter, 0) == 10


def test_tokens_that_only_one_of_the_models_has_are_no_hindrance(
    tiny_f16: Path, opened: Open
) -> None:
    runner = opened(tiny_f16, tiny_f16)
    drafter = drafter_of(runner)
    runner.run([Slice(0, 0, [1, 2, 3], None)])
    drafter._size = drafter._known = 1_000  # as if it had fewer
    drafter._row_type = llama_cpp.llama_cpp.ctypes.c_float * 1_000
    (token,) = drafter.likeliest([Slice(0, 0, [1, 2_000, 1_500], None)])
    assert 0 <= token < 1_000


def test_what_the_drafter_holds_is_told_beside_the_model(tiny_f16: Path, opened: Open) -> None:
    usage = opened(tiny_f16, tiny_f16).memory()
    (beside,) = usage.beside
    assert beside.kind == "draft"
    assert sum(one.weights_bytes for one in beside.devices) == usage.weights_bytes
    assert sum(one.cache_bytes for one in beside.devices) == usage.cache_bytes
    assert 0 < beside.output_bytes < usage.output_bytes


@pytest.mark.parametrize("which", [1, 2])
def test_where_a_context_cannot_be_made_both_models_are_closed(
    which: int, tiny_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(256, 2, guess_tokens=4, gpu_layers=0)
    model, draft = (LlamaModel(tiny_f16, runtime) for _ in range(2))
    calls, make = 0, llama_cpp.llama_init_from_model

    def fails(model: object, params: object) -> object:
        nonlocal calls
        calls += 1
        return None if calls == which else make(model, params)

    monkeypatch.setattr(llama_cpp, "llama_init_from_model", fails)
    monkeypatch.setattr("localserve.llama.context.library.memory_ran_out", lambda reasons: True)
    with pytest.raises(OutOfMemory):
        LlamaRunner(model, runtime, threads=1, draft_model=draft)
    for one in (model, draft):
        with pytest.raises(AssertionError, match="closed"):
            _ = one.handle
