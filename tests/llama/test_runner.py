"""One llama_context on small random models, stepped by hand on this thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from localserve.catalog.headers import read_local
from localserve.chat import DEFAULT_SAMPLING, Sampling
from localserve.engine.runner import Interrupted, NoCells, Sampled, Slice, Unsampled
from localserve.errors import ModelUnusable
from localserve.llama.model import LlamaModel
from localserve.llama.row_pool import RowPool
from localserve.llama.runner import LlamaRunner
from localserve.llama.sampler import LlamaSampler
from localserve.planner.formula import state_bytes
from localserve.planner.runtime import FlashAttention, Runtime
from tests.gguf.small_models import SMALL_MODELS, write_small_model

GREEDY = replace(DEFAULT_SAMPLING, temperature=0.0)
NOISE = {"F16": 0.01, "Q4_K_M": 0.15}
"""How much a logit may differ with what else is in its batch. These models spread their logits wide
on purpose, and the noise with them: real ones have 1e-4 and 0.05."""


def open_runner(
    path: Path, *, cells: int = 2_048, parallel: int = 4, threads: int = 1
) -> LlamaRunner:
    runtime = Runtime(cells, 2 * parallel, guess_tokens=16)
    return LlamaRunner(LlamaModel(path, runtime), runtime, threads=threads)


@pytest.fixture
def runner(tiny_f16: Path) -> Iterator[LlamaRunner]:
    opened = open_runner(tiny_f16)
    yield opened
    opened.close()


@pytest.fixture
def window_runner(window_model: Path) -> Iterator[LlamaRunner]:
    opened = open_runner(window_model)
    yield opened
    opened.close()


def prompt_of(seed: int, length: int, vocabulary: int = 500) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocabulary, size=length).tolist()


def sampler_of(runner: LlamaRunner) -> LlamaSampler:
    return runner.make_sampler(GREEDY, history=[], top_logprobs=2, ignore_end=True)


def compute(runner: LlamaRunner, slot: int, start: int, tokens: list[int]) -> Sampled:
    """Compute in chunks of a batch; what follows."""
    size = runner.batch_tokens
    for begin in range(0, len(tokens), size):
        chunk = tokens[begin : begin + size]
        ((sampled,),) = runner.run([Slice(slot, start + begin, chunk, sampler_of(runner))])
    assert isinstance(sampled, Sampled)
    return sampled


def go_on(
    runner: LlamaRunner, slot: int, position: int, sampled: Sampled, count: int
) -> list[Sampled]:
    """The next `count` tokens, beginning with `sampled`, each computed on its own."""
    answer = [sampled]
    for step in range(count - 1):
        answer.append(compute(runner, slot, position + step, [answer[-1].token]))
    return answer


def alone(runner: LlamaRunner, slot: int, prompt: list[int], count: int) -> list[Sampled]:
    return go_on(runner, slot, len(prompt), compute(runner, slot, 0, prompt), count)


def same(one: list[Sampled], other: list[Sampled], noise: float) -> bool:
    """Whether two answers agree, up to the first token that noise may decide."""
    for first, second in zip(one, other, strict=True):
        if first.token != second.token:
            best, next_best = first.top
            return best.logprob - next_best.logprob <= 2 * noise
        if first.top[0].logprob != pytest.approx(second.top[0].logprob, abs=2 * noise):
            return False
    return True


@pytest.mark.parametrize("weight_type", ["F16", "Q4_K_M"])
def test_a_batch_of_many_answers_as_each_alone(
    weight_type: str, request: pytest.FixtureRequest
) -> None:
    runner = open_runner(request.getfixturevalue(f"tiny_{weight_type.lower()}"), parallel=8)
    prompts = [prompt_of(seed, 5 + 11 * seed) for seed in range(6)]
    singles = []
    for prompt in prompts:
        singles.append(alone(runner, 0, prompt, 24))
        runner.truncate(0, 0)
    samplers = [sampler_of(runner) for _ in prompts]
    batch = [Slice(slot, 0, prompt, samplers[slot]) for slot, prompt in enumerate(prompts)]
    answers: list[list[Sampled]] = [[] for _ in prompts]
    for _ in range(24):
        for answer, (sampled,) in zip(answers, runner.run(batch), strict=True):
            assert isinstance(sampled, Sampled)
            answer.append(sampled)
        batch = [
            Slice(part.slot, part.start + len(part.tokens), [answer[-1].token], part.sampler)
            for part, answer in zip(batch, answers, strict=True)
        ]
    assert all(
        same(one, other, NOISE[weight_type]) for one, other in zip(singles, answers, strict=True)
    )
    assert len({one.token for answer in answers for one in answer}) > 10
    runner.close()


def test_a_step_has_ended_when_run_returns_also_one_without_outputs(
    runner: LlamaRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def noted(name: str) -> None:
        function = getattr(llama_cpp, name)

        def call(*arguments: object) -> object:
            calls.append(name)
            return function(*arguments)

        monkeypatch.setattr(llama_cpp, name, call)

    noted("llama_decode")
    noted("llama_synchronize")
    runner.run([Slice(0, 0, tuple(prompt_of(1, 32)), None)])
    assert calls == ["llama_decode", "llama_synchronize"]


@pytest.mark.parametrize("sampling", [GREEDY, DEFAULT_SAMPLING], ids=["greedy", "drawn"])
def test_rows_sampled_by_several_threads_are_the_same(tiny_f16: Path, sampling: Sampling) -> None:
    answers = []
    for cores in (1, 8):
        runner = open_runner(tiny_f16, parallel=8)
        runner._row_pool = RowPool(cores)
        samplers = [
            runner.make_sampler(
                replace(sampling, seed=slot), history=[], top_logprobs=3, ignore_end=True
            )
            for slot in range(16)
        ]
        tokens = [[100 + slot] for slot in range(16)]
        scores = []
        for place in range(12):
            step = [Slice(slot, place, tokens[slot][-1:], samplers[slot]) for slot in range(16)]
            for slot, (sampled,) in enumerate(runner.run(step)):
                assert isinstance(sampled, Sampled)
                tokens[slot].append(sampled.token)
                scores.append((sampled.score, sampled.top))
        answers.append((tokens, scores))
        runner.close()
    assert answers[0] == answers[1]


def test_chunks_of_a_prompt_give_what_the_whole_prompt_gives(runner: LlamaRunner) -> None:
    prompt = prompt_of(1, 300)
    whole = alone(runner, 0, prompt, 16)
    for begin, end in ((0, 7), (7, 8), (8, 200)):
        assert runner.run([Slice(1, begin, prompt[begin:end], None)]) == [[]]
    chunked = go_on(runner, 1, 300, compute(runner, 1, 200, prompt[200:]), 16)
    assert same(whole, chunked, NOISE["F16"])


@pytest.mark.parametrize("which", ["runner", "window_runner"])
@pytest.mark.parametrize("length", [16, 100, 140, 199])
def test_a_slot_that_is_cut_goes_on_as_if_computed_anew(
    which: str, length: int, request: pytest.FixtureRequest
) -> None:
    runner: LlamaRunner = request.getfixturevalue(which)
    old, new = prompt_of(1, 200), prompt_of(2, 60)
    alone(runner, 0, old, 40)
    left = runner.truncate(0, length)
    assert left in (0, length)
    prompt = old[:length] + new
    reused = go_on(runner, 0, len(prompt), compute(runner, 0, left, prompt[left:]), 16)
    fresh = alone(runner, 1, prompt, 16)
    assert same(fresh, reused, NOISE["F16"])


@pytest.mark.parametrize("which", ["runner", "window_runner"])
@pytest.mark.parametrize("length", [40, 100, 200])
def test_a_shared_beginning_goes_on_as_if_computed_anew(
    which: str, length: int, request: pytest.FixtureRequest
) -> None:
    runner: LlamaRunner = request.getfixturevalue(which)
    old, new = prompt_of(1, 200), prompt_of(2, 60)
    source = compute(runner, 0, 0, old)
    shared = runner.share(0, 1, length)
    assert shared in (0, length)
    prompt = old[:length] + new
    reused = go_on(runner, 1, len(prompt), compute(runner, 1, shared, prompt[shared:]), 16)
    fresh = alone(runner, 2, prompt, 16)
    assert same(fresh, reused, NOISE["F16"])
    # The source is not disturbed, and goes on when the other one is forgotten.
    runner.truncate(1, 0)
    expected = alone(runner, 3, old, 16)
    assert same(expected, go_on(runner, 0, 200, source, 16), NOISE["F16"])


def test_a_model_without_a_window_can_be_cut_and_shared_anywhere(runner: LlamaRunner) -> None:
    compute(runner, 0, 0, prompt_of(1, 100))
    assert runner.share(0, 1, 50) == 50
    assert runner.truncate(0, 99) == 99
    assert runner.truncate(0, 1) == 1
    assert runner.truncate(0, 0) == 0


def test_a_window_model_that_has_gone_far_on_is_not_cut_far_back(
    window_runner: LlamaRunner,
) -> None:
    assert window_runner.model.window_tokens == 32
    compute(window_runner, 0, 0, prompt_of(1, 1_500))
    assert window_runner.share(0, 1, 100) == 0
    assert window_runner.truncate(0, 100) == 0


def test_windows_stay_whole_through_many_shares(window_runner: LlamaRunner) -> None:
    """Cells that several slots share are freed late; no slot may look into a gap."""
    random = np.random.default_rng(5)
    texts: dict[int, list[int]] = {slot: [] for slot in range(4)}
    for round_number in range(30):
        slot, source = random.permutation(4)[:2].tolist()
        length = int(random.integers(0, len(texts[source]) + 1))
        if random.random() < 0.4:
            texts[slot] = texts[slot][: window_runner.truncate(slot, len(texts[slot]) // 2)]
        else:
            window_runner.truncate(slot, 0)
            shared = window_runner.share(source, slot, length) if length else 0
            texts[slot] = texts[source][:shared]
        new = prompt_of(round_number, int(random.integers(1, 120)))
        sampled = compute(window_runner, slot, len(texts[slot]), new)
        texts[slot] = texts[slot] + new
        window_runner.truncate(4, 0)
        fresh = compute(window_runner, 4, 0, texts[slot])
        assert same([fresh], [sampled], NOISE["F16"])


def test_a_batch_without_room_raises_no_cells_and_leaves_the_memory_as_it_was(
    tiny_f16: Path,
) -> None:
    runner = open_runner(tiny_f16, cells=256, parallel=2)
    prompt = prompt_of(1, 200)
    sampled = compute(runner, 0, 0, prompt)
    with pytest.raises(NoCells):
        compute(runner, 1, 0, prompt_of(2, 100))
    expected = go_on(runner, 0, 200, sampled, 16)
    runner.truncate(0, 0)
    assert same(alone(runner, 1, prompt, 16), expected, NOISE["F16"])
    runner.close()


def test_all_cells_that_are_promised_can_be_used(tiny_f16: Path) -> None:
    runner = open_runner(tiny_f16, cells=300, parallel=3)
    for slot in range(3):
        compute(runner, slot, 0, prompt_of(slot, 100))
    runner.close()


UNCUT = ("mamba", "mamba2", "rwkv7", "jamba", "falcon-h1", "lfm2", "qwen3next", "gemma3", "gpt-oss")
"""Recurrent, hybrid and sliding-window models, as tests/gguf/small_models.py names them."""


RECURRENT_NOISE = 0.05
"""Of the same chunks in another slot; chunks of another size may make more of random weights."""


def open_small(path: Path, name: str) -> LlamaRunner:
    made = write_small_model(path / f"{name}.gguf", SMALL_MODELS[name])
    return open_runner(made, cells=512, parallel=2)


@pytest.mark.parametrize("name", UNCUT)
def test_a_checkpoint_goes_on_as_if_computed_anew(name: str, tmp_path: Path) -> None:
    runner = open_small(tmp_path, name)
    assert runner.saves
    old, new = prompt_of(1, 90, 60), prompt_of(2, 30, 60)
    compute(runner, 0, 0, old[:50])
    state = runner.save(0)
    assert state is not None
    source = compute(runner, 0, 50, old[50:])
    expected = in_chunks(runner, 3, old[:50], new)
    follows_alone = in_chunks(runner, 3, old[:50], old[50:], [source.token])
    runner.truncate(3, 0)
    # Shared: the source goes on undisturbed.
    assert runner.share(0, 1, 50, state) == 50
    assert near(compute(runner, 1, 50, new), expected)
    assert near(compute(runner, 0, 90, [source.token]), follows_alone)
    # In its own slot.
    assert runner.truncate(0, 50, state) == 50
    assert near(compute(runner, 0, 50, new), expected)
    # From the end, where nothing need be cut.
    assert runner.can_cut(0, 80)
    assert runner.share(0, 2, 80) == 80
    both = compute(runner, 2, 80, old[:9]), compute(runner, 0, 80, old[:9])
    assert near(*both)
    runner.close()


def in_chunks(runner: LlamaRunner, slot: int, *chunks: list[int]) -> Sampled:
    """Compute the chunks in an emptied slot; what follows."""
    runner.truncate(slot, 0)
    start = 0
    for chunk in chunks:
        sampled = compute(runner, slot, start, chunk)
        start += len(chunk)
    return sampled


def near(one: Sampled, other: Sampled) -> bool:
    return same([one], [other], RECURRENT_NOISE)


@pytest.mark.parametrize("name", UNCUT)
def test_a_checkpoint_takes_about_what_the_formula_says(name: str, tmp_path: Path) -> None:
    runner = open_small(tmp_path, name)
    compute(runner, 0, 0, prompt_of(1, 400, 60))
    state = runner.save(0)
    assert state is not None
    facts = read_local(tmp_path / f"{name}.gguf").facts
    assert state.size_bytes == pytest.approx(state_bytes(facts, runner.runtime), rel=0.1, abs=4_000)
    runner.close()


def interrupt_during(runner: LlamaRunner, work: Callable[[], object], after_seconds: float) -> None:
    """Call `interrupt` from another thread while `work` computes."""
    timer = threading.Timer(after_seconds, runner.interrupt)
    timer.start()
    try:
        work()
    finally:
        timer.join()


def test_an_interrupted_prompt_leaves_the_memory_as_it_was(runner: LlamaRunner) -> None:
    before = prompt_of(1, 40)
    sampled = compute(runner, 0, 0, before)
    long = prompt_of(2, 512)

    began = time.monotonic()
    runner.run([Slice(1, 0, long, None)])
    whole_seconds = time.monotonic() - began
    runner.truncate(1, 0)

    interrupted = 0
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        try:
            interrupt_during(
                runner, lambda: runner.run([Slice(1, 0, long, None)]), whole_seconds * share
            )
        except Interrupted:
            interrupted += 1
        else:
            runner.truncate(1, 0)
    assert interrupted > 0
    answer = go_on(runner, 0, 40, sampled, 16)
    assert same(alone(runner, 2, before, 16), answer, NOISE["F16"])
    again = go_on(runner, 1, 512, compute(runner, 1, 0, long), 8)
    runner.truncate(2, 0)
    assert same(alone(runner, 2, long, 8), again, NOISE["F16"])


def test_a_late_interrupt_harms_no_later_step(runner: LlamaRunner) -> None:
    prompt = prompt_of(1, 20)
    first = compute(runner, 0, 0, prompt)
    runner.interrupt()
    second = compute(runner, 0, 20, [first.token])
    expected = alone(runner, 1, prompt, 2)
    assert second.token == expected[1].token


def test_a_context_that_cannot_be_made_says_so(
    tiny_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llama_cpp

    monkeypatch.setattr(llama_cpp, "llama_init_from_model", lambda model, params: None)
    with pytest.raises(ModelUnusable, match="2048 tokens"):
        open_runner(tiny_f16)


@pytest.mark.parametrize("right", range(6))
def test_a_guess_is_taken_as_far_as_it_is_right(runner: LlamaRunner, right: int) -> None:
    prompt = prompt_of(3, 40)
    answer = alone(runner, 0, prompt, 8)
    ids = [sampled.token for sampled in answer]
    guess = [*ids[1 : 1 + right], *((token + 1) % 500 for token in ids[1 + right : 6])]
    runner.truncate(0, 0)
    assert compute(runner, 0, 0, prompt).token == ids[0]
    (results,) = runner.run([Slice(0, len(prompt), ids[:1], sampler_of(runner), guess)])
    sampled = [one for one in results if isinstance(one, Sampled)]
    assert len(sampled) == right + 1
    assert same(sampled, answer[1 : 2 + right], NOISE["F16"])
    # What was wrong is gone from the slot: the answer goes on as if it had never been there.
    rest = go_on(runner, 0, len(prompt) + 1 + right, sampled[-1], 7 - right)
    assert same(rest, answer[1 + right :], NOISE["F16"])


def test_models_that_cannot_be_cut_guess_nothing(window_runner: LlamaRunner) -> None:
    assert window_runner.guess_tokens == 0


def test_banned_ends_are_never_chosen(runner: LlamaRunner) -> None:
    token = runner.vocabulary.end
    assert token is not None
    forced = replace(GREEDY, logit_bias=((token, 1_000.0),))
    for ignore_end, is_end in ((False, True), (True, False)):
        runner.truncate(0, 0)
        sampler = runner.make_sampler(forced, history=[], top_logprobs=None, ignore_end=ignore_end)
        ((sampled,),) = runner.run([Slice(0, 0, [1, 2, 3], sampler)])
        assert isinstance(sampled, Sampled)
        assert runner.vocabulary.is_end(sampled.token) is is_end


def test_a_row_that_nothing_can_be_chosen_from_concerns_its_own_sequence_only(
    runner: LlamaRunner, caplog: pytest.LogCaptureFixture
) -> None:
    unusable = replace(GREEDY, logit_bias=((7, float("nan")),))
    misplaced = replace(GREEDY, logit_bias=((1_000_000, 1.0),))
    samplers = [
        runner.make_sampler(sampling, history=[], top_logprobs=None, ignore_end=False)
        for sampling in (GREEDY, unusable, misplaced)
    ]
    prompt = prompt_of(1, 20)
    batch = [Slice(slot, 0, prompt, sampler) for slot, sampler in enumerate(samplers)]
    (good,), (bad,), (wrong,) = runner.run(batch)
    assert isinstance(good, Sampled)
    assert bad == Unsampled(f"not all of the {runner.vocabulary.size} logits are numbers")
    assert isinstance(wrong, Unsampled)
    assert "out of bounds" in wrong.reason
    assert "sampling failed" in caplog.text


def test_warming_up_leaves_no_trace(runner: LlamaRunner) -> None:
    prompt = prompt_of(1, 30)
    before = alone(runner, 0, prompt, 8)
    runner.truncate(0, 0)
    runner.warm_up()
    assert same(alone(runner, 0, prompt, 8), before, NOISE["F16"])


def test_closing_twice_is_harmless(runner: LlamaRunner) -> None:
    runner.close()
    runner.close()


# Copied out and in


def open_copying(path: Path, *, cells: int = 2_048, parallel: int = 4) -> LlamaRunner:
    runtime = Runtime(cells, 2 * parallel, guess_tokens=16)
    return LlamaRunner(LlamaModel(path, runtime), runtime, threads=1, copies=True)


@pytest.mark.parametrize("weight_type", ["F16", "Q4_K_M"])
@pytest.mark.parametrize("flash_attention", ["auto", "off"])
def test_pieces_that_are_copied_in_go_on_as_if_computed(
    weight_type: str, flash_attention: FlashAttention, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(f"tiny_{weight_type.lower()}")
    runtime = Runtime(2_048, 8, flash_attention=flash_attention)

    def opened() -> LlamaRunner:
        return LlamaRunner(LlamaModel(path, runtime), runtime, threads=1, copies=True)

    first, prompt = opened(), prompt_of(1, 300)
    expected = alone(first, 0, prompt, 16)
    pieces = [first.copy_out(0, begin, begin + 100) for begin in (0, 100, 200)]
    sizes = [first.copy_bytes(0, begin, begin + 100) for begin in (0, 100, 200)]
    assert sizes == [len(piece) for piece in pieces if piece is not None]
    assert first.truncate(0, 300) == 300
    first.close()

    second = opened()
    compute(second, 3, 0, prompt_of(2, 70))  # others lie between, in this memory
    for begin, piece in zip((0, 100, 200), pieces, strict=True):
        assert piece is not None
        end = min(begin + 100, 299)
        assert second.copy_in(1, begin, end, piece.copy(), range(begin, begin + 100))
    sampled = go_on(second, 1, 300, compute(second, 1, 299, prompt[299:]), 16)
    assert same(expected, sampled, NOISE[weight_type])
    second.close()


def test_a_part_of_a_piece_is_enough_where_the_rest_is_there(tiny_f16: Path) -> None:
    runner, prompt = open_copying(tiny_f16), prompt_of(1, 200)
    expected = alone(runner, 0, prompt, 8)
    piece = runner.copy_out(0, 100, 200)
    assert piece is not None
    assert runner.share(0, 1, 130) == 130
    assert runner.copy_in(1, 130, 180, piece, range(100, 200))
    sampled = compute(runner, 1, 180, prompt[180:])
    assert same(expected, go_on(runner, 1, 200, sampled, 8), NOISE["F16"])
    runner.close()


def test_copying_leaves_no_cells_in_use(tiny_f16: Path) -> None:
    runner = open_copying(tiny_f16, cells=256, parallel=2)
    prompt = prompt_of(1, 120)
    compute(runner, 0, 0, prompt)
    for _ in range(20):
        piece = runner.copy_out(0, 0, 120)
        assert piece is not None
        assert runner.copy_in(1, 0, 100, piece, range(120))
        runner.truncate(1, 0)
    compute(runner, 1, 0, prompt_of(2, 136))
    runner.close()


def test_without_room_nothing_is_copied_in(tiny_f16: Path) -> None:
    runner = open_copying(tiny_f16, cells=256, parallel=2)
    compute(runner, 0, 0, prompt_of(1, 150))
    piece = runner.copy_out(0, 0, 150)
    assert piece is not None
    assert not runner.copy_in(1, 0, 150, piece, range(150))
    compute(runner, 1, 0, prompt_of(2, 106))
    runner.close()


def test_what_is_of_other_places_is_refused(tiny_f16: Path) -> None:
    runner = open_copying(tiny_f16)
    compute(runner, 0, 0, prompt_of(1, 200))
    piece = runner.copy_out(0, 0, 100)
    assert piece is not None
    assert not runner.copy_in(1, 100, 200, piece, range(100, 200))
    assert not runner.copy_in(1, 0, 100, piece[:-1], range(100))
    assert runner.copy_in(1, 0, 100, piece, range(100))
    runner.close()


def test_copying_takes_one_slot_and_only_where_it_is_asked_for(
    tiny_f16: Path, window_model: Path
) -> None:
    plain, copying = open_runner(tiny_f16), open_copying(tiny_f16)
    windowed = open_copying(window_model)
    assert (plain.slots, copying.slots, windowed.slots) == (8, 7, 8)
    compute(plain, 0, 0, prompt_of(1, 50))
    assert plain.copy_out(0, 0, 50) is None
    assert plain.copy_bytes(0, 0, 50) == 0
    for runner in (plain, copying, windowed):
        runner.close()


@pytest.mark.parametrize("name", UNCUT)
def test_what_was_copied_in_is_what_was_copied_out(name: str, tmp_path: Path) -> None:
    path = write_small_model(tmp_path / f"{name}.gguf", SMALL_MODELS[name])
    first, second = (open_copying(path, cells=512, parallel=2) for _ in range(2))
    first.run([Slice(1, 0, prompt_of(1, 90, 60), None)])
    state, checkpoint = first.copy_out(1, 0, 90), first.save(1)
    assert state is not None
    assert checkpoint is not None
    assert second.copy_in(1, 0, 90, state, range(90))
    again, saved = second.copy_out(1, 0, 90), second.save(1)
    assert again is not None
    assert saved is not None
    assert np.array_equal(state, again)
    assert np.array_equal(checkpoint.data, saved.data)
    for runner in (first, second):
        runner.close()


@pytest.mark.parametrize("name", UNCUT)
def test_what_cannot_be_cut_is_copied_whole_with_its_checkpoints(name: str, tmp_path: Path) -> None:
    old, new = prompt_of(1, 90, 60), prompt_of(2, 30, 60)
    path = write_small_model(tmp_path / f"{name}.gguf", SMALL_MODELS[name])
    first = open_copying(path, cells=512, parallel=2)
    compute(first, 0, 0, old[:50])
    checkpoint = first.save(0)
    compute(first, 0, 50, old[50:])
    state = first.copy_out(0, 0, 90)
    assert state is not None
    assert checkpoint is not None
    assert first.copy_bytes(0, 0, 90) == len(state)
    from_end = compute(first, 0, 90, new)
    from_checkpoint = in_chunks(first, 1, old[:50], new)
    first.close()

    second = open_copying(path, cells=512, parallel=2)
    compute(second, 2, 0, prompt_of(3, 40, 60))
    assert second.copy_in(1, 0, 90, state, range(90))
    assert not second.copy_in(0, 0, 90, state[:-1], range(90))
    again = second.checkpoint(checkpoint.data)
    assert second.share(1, 0, 50, again) == 50
    assert near(compute(second, 0, 50, new), from_checkpoint)
    assert near(compute(second, 1, 90, new), from_end)
    second.close()
