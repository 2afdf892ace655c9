"""A local backend over a small random model whose greedy answers never end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import psutil
import pytest
import pytest_asyncio

import localserve
from localserve.backends.loading import LoadOptions
from localserve.backends.local import LocalBackend, load
from localserve.backends.placement import place_model
from localserve.catalog.headers import read_local
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import (
    Accepted,
    ChatEvent,
    ChatRequest,
    Completed,
    CompletionRequest,
    Finished,
    Generation,
    Message,
    Priority,
    Prompt,
    Sampling,
    TextDelta,
)
from localserve.config import read_settings
from localserve.engine.disk import saving
from localserve.engine.engine import Mailbox
from localserve.engine.sequence import GenerateRequest
from localserve.errors import ContextOverflow, InvalidRequest, ModelUnusable
from localserve.llama.vocabulary import LlamaVocabulary
from localserve.planner.companions import draft_for
from localserve.planner.plan import Wanted
from localserve.prompting.sandbox import TemplateProcess
from tests.gguf.small_models import SMALL_MODELS, write_small_model

GREEDY = Sampling(temperature=0.0)
PATIENCE_SECONDS = 60.0
PLAIN_TEXT = {"add_special": False, "parse_special": False}
BUILTIN = Path(localserve.__file__).parent / "catalog" / "builtin.gguf"


def spec_of(path: Path) -> ModelSpec:
    return ModelSpec(name="tiny", source=LocalFile(path))


async def load_tiny(
    path: Path, templates: TemplateProcess, context_tokens: int = 1_024, parallel: int = 4
) -> LocalBackend:
    wanted = Wanted(context_tokens=context_tokens, parallel=parallel)
    options = LoadOptions(wanted, threads=1)
    return await load(spec_of(path), options, lambda share: None, templates)


@pytest_asyncio.fixture
async def templates() -> AsyncIterator[TemplateProcess]:
    process = TemplateProcess()
    yield process
    await process.close()


@pytest_asyncio.fixture
async def backend(tiny_f16: Path, templates: TemplateProcess) -> AsyncIterator[LocalBackend]:
    loaded = await load_tiny(tiny_f16, templates)
    yield loaded
    await loaded.close()


def completion(
    *prompts: Prompt,
    sampling: Sampling = GREEDY,
    suffix: str | None = None,
    echo: bool = False,
    max_tokens: int | None = 8,
    stop: tuple[str, ...] = (),
    choices: int = 1,
    top_logprobs: int | None = None,
) -> CompletionRequest:
    generation = Generation(
        sampling=sampling,
        max_tokens=max_tokens,
        stop=stop,
        choices=choices,
        top_logprobs=top_logprobs,
    )
    return CompletionRequest(
        "tiny", prompts or ("the cat",), suffix=suffix, echo=echo, generation=generation
    )


async def events_of(stream: AsyncGenerator[ChatEvent, None]) -> list[ChatEvent]:
    async with asyncio.timeout(PATIENCE_SECONDS), aclosing(stream):
        return [event async for event in stream]


def texts_of(events: list[ChatEvent]) -> dict[int, str]:
    texts: dict[int, str] = {}
    for event in events:
        if isinstance(event, TextDelta):
            texts[event.choice] = texts.get(event.choice, "") + event.text
    return texts


async def text_of(backend: LocalBackend, asked: CompletionRequest) -> str:
    return texts_of(await events_of(backend.complete(asked)))[0]


async def until_idle(backend: LocalBackend) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while backend.status().running or backend.status().waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def chat(text: str, generation: Generation) -> ChatRequest:
    return ChatRequest("tiny", (Message("user", text),), generation=generation)


# Events


async def test_a_chat_is_accepted_answered_finished_and_completed(backend: LocalBackend) -> None:
    generation = Generation(sampling=GREEDY, max_tokens=8)
    events = await events_of(backend.chat(chat("hello", generation)))
    first, *deltas, finished, completed = events
    assert isinstance(first, Accepted)
    assert first.model == "tiny"
    assert all(isinstance(event, TextDelta) for event in deltas)
    assert finished == Finished(0, "length")
    assert isinstance(completed, Completed)
    assert completed.usage.completion_tokens == 8
    assert completed.usage.prompt_tokens == first.prompt_tokens


async def test_a_chat_is_the_completion_of_its_rendered_template(backend: LocalBackend) -> None:
    generation = Generation(sampling=GREEDY, max_tokens=8)
    answer = texts_of(await events_of(backend.chat(chat("hello", generation))))[0]
    raw = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert answer == await text_of(backend, completion(raw))


async def test_several_prompts_and_choices_are_numbered_prompt_by_prompt(
    backend: LocalBackend,
) -> None:
    events = await events_of(backend.complete(completion("the cat", "a dog", choices=2)))
    texts = texts_of(events)
    assert sorted(texts) == [0, 1, 2, 3]
    assert (texts[0], texts[2]) == (texts[1], texts[3])
    assert texts[0] != texts[2]
    finished = [event.choice for event in events if isinstance(event, Finished)]
    assert sorted(finished) == [0, 1, 2, 3]
    completed = events[-1]
    assert isinstance(completed, Completed)
    assert completed.usage.completion_tokens == 32
    assert completed.timings.timed_tokens == 28  # the first of each choice began its time


async def test_an_answer_of_no_tokens_computes_the_prompt_and_keeps_it(
    backend: LocalBackend,
) -> None:
    prompt = tuple(range(100, 200))
    accepted, finished, completed = await events_of(
        backend.complete(completion(prompt, max_tokens=0))
    )
    assert accepted == Accepted("tiny", 100)
    assert finished == Finished(0, "length")
    assert isinstance(completed, Completed)
    assert (completed.usage.prompt_tokens, completed.usage.completion_tokens) == (100, 0)
    assert completed.timings.tokens_per_second is None
    following = (await events_of(backend.complete(completion(prompt))))[-1]
    assert isinstance(following, Completed)
    assert following.usage.cached_tokens == 99


async def test_the_same_prompt_again_is_cached_but_for_its_last_token(
    backend: LocalBackend,
) -> None:
    prompt = tuple(range(100, 200))
    cold, warm = [await events_of(backend.complete(completion(prompt))) for _ in range(2)]
    completed = warm[-1]
    assert isinstance(completed, Completed)
    assert completed.usage.cached_tokens == 99
    assert texts_of(warm) == texts_of(cold)


def cached(events: list[ChatEvent]) -> int:
    completed = events[-1]
    assert isinstance(completed, Completed)
    return completed.usage.cached_tokens


@pytest.mark.parametrize("which", ["tiny_f16", "window_model"])
async def test_each_turn_of_a_conversation_computes_only_what_is_new(
    which: str, request: pytest.FixtureRequest, templates: TemplateProcess
) -> None:
    backend = await load_tiny(request.getfixturevalue(which), templates)
    said: list[Message] = []
    before = 0
    for turn in range(4):
        said.append(Message("user", f"{turn} " * 60))
        asked = ChatRequest("tiny", tuple(said), generation=Generation(GREEDY, max_tokens=12))
        events = await events_of(backend.chat(asked))
        assert isinstance(events[0], Accepted)
        if before:
            # The answer may come back in other text than it was given in: bytes that are no UTF-8.
            assert cached(events) >= before - 8
        before = events[0].prompt_tokens
        said.append(Message("assistant", texts_of(events)[0]))
    await backend.close()


@pytest.mark.parametrize("which", ["tiny_f16", "window_model"])
async def test_requests_at_once_that_begin_alike_compute_that_once_and_answer_as_alone(
    which: str, request: pytest.FixtureRequest, templates: TemplateProcess
) -> None:
    begin = tuple(range(100, 300))
    prompts = [(*begin, *range(letter, letter + 20)) for letter in (10, 40, 70)]
    path = request.getfixturevalue(which)
    alone = []
    for prompt in prompts:
        fresh = await load_tiny(path, templates)
        alone.append(await text_of(fresh, completion(prompt, max_tokens=4)))
        await fresh.close()
    backend = await load_tiny(path, templates)
    answers = await asyncio.gather(
        *(events_of(backend.complete(completion(prompt, max_tokens=4))) for prompt in prompts)
    )
    assert sorted(map(cached, answers)) == [0, 200, 200]
    assert [texts_of(events)[0] for events in answers] == alone
    await backend.close()


async def test_a_text_is_found_in_other_tokens_than_it_is_tokenized_to(
    backend: LocalBackend,
) -> None:
    text = "hello world " * 10
    written = letter_by_letter(backend, text)
    await events_of(backend.complete(completion(written, max_tokens=0)))
    asked = f"{text}and more"
    tokens = backend._vocabulary.tokenize(asked, add_special=True, parse_special=True)
    assert len(written) > len(tokens)
    events = await events_of(backend.complete(completion(asked)))
    assert events[0] == Accepted("tiny", len(tokens))
    assert cached(events) >= len(backend._vocabulary.tokenize(text, **PLAIN_TEXT)) - 2
    # Of text that looks like a control token nothing is found where the token itself is asked.
    special = "<|im_start|>"
    await events_of(backend.complete(completion(letter_by_letter(backend, special), max_tokens=0)))
    assert cached(await events_of(backend.complete(completion(f"{special}a")))) == 0


def letter_by_letter(backend: LocalBackend, text: str) -> tuple[int, ...]:
    """Text in tokens of a letter each, as no tokenizer writes it."""
    tokens = [backend._vocabulary.tokenize(letter, **PLAIN_TEXT) for letter in text]
    return tuple(chain.from_iterable(tokens))


async def test_the_builtin_model_answers_the_same_whether_it_shares_or_not(
    templates: TemplateProcess,
) -> None:
    rules = "You are a helpful assistant. " * 12
    questions = ("What is the capital of France?", "What is 2 + 3?", "Who are you?")
    asked = [
        ChatRequest(
            "builtin",
            (Message("system", rules), Message("user", question)),
            generation=Generation(GREEDY, max_tokens=16),
        )
        for question in questions
    ]
    alone = []
    for request in asked:
        fresh = await load_tiny(BUILTIN, templates)
        alone.append(texts_of(await events_of(fresh.chat(request)))[0])
        await fresh.close()
    backend = await load_tiny(BUILTIN, templates)
    answers = await asyncio.gather(*(events_of(backend.chat(request)) for request in asked))
    assert [texts_of(events)[0] for events in answers] == alone
    assert sum(cached(events) > 50 for events in answers) == 2
    for request, answer in zip(asked, alone, strict=True):
        said = (*request.messages, Message("assistant", answer), Message("user", "And now?"))
        first = (await events_of(backend.chat(request)))[0]
        assert isinstance(first, Accepted)
        events = await events_of(backend.chat(replace(request, messages=said)))
        assert cached(events) >= first.prompt_tokens
    await backend.close()


@pytest.mark.parametrize("shared", [False, True])
async def test_prefixes_are_shared_between_scopes_only_where_that_is_wished(
    shared: bool, tiny_f16: Path, templates: TemplateProcess
) -> None:
    options = LoadOptions(Wanted(context_tokens=1_024), threads=1, share_prefixes=shared)
    backend = await load(spec_of(tiny_f16), options, lambda share: None, templates)
    asked = completion(tuple(range(100, 200)))
    await events_of(backend.complete(replace(asked, scope="theirs")))
    events = await events_of(backend.complete(replace(asked, scope="ours")))
    assert cached(events) == (99 if shared else 0)
    await backend.close()


# After a restart


@pytest.fixture
def warm_model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One that can be cut anywhere, one with windows, and recurrent ones."""
    if request.param in SMALL_MODELS:
        return write_small_model(tmp_path / "small.gguf", SMALL_MODELS[request.param])
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.mark.parametrize(
    "warm_model", ["tiny_f16", "tiny_q4_k_m", "window_model", "mamba", "jamba"], indirect=True
)
async def test_what_was_computed_before_a_restart_is_not_computed_again(
    warm_model: Path,
    templates: TemplateProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saving, "WORTH_WRITING", 64)  # random weights make no sense of long texts
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    wanted = Wanted(context_tokens=1_024, parallel=2)
    options = LoadOptions(wanted, threads=1, settings=settings)

    async def load_it() -> LocalBackend:
        return await load(spec_of(warm_model), options, lambda share: None, templates)

    said = tuple(np.random.default_rng(1).integers(0, 60, 80).tolist())
    goes_on = completion(said + said[:20], max_tokens=4)
    first = await load_it()
    for scope in ("kept", ""):
        begins = replace(completion(said, max_tokens=0), scope=scope)
        await events_of(first.complete(begins))
    kept = await text_of(first, replace(goes_on, scope="kept"))
    await first.close()
    second = await load_it()
    assert second.status().disk_bytes > 0
    assert cached(await events_of(second.complete(replace(goes_on, scope="theirs")))) == 0
    events = await events_of(second.complete(goes_on))
    assert cached(events) == 80
    assert texts_of(events)[0] == kept
    await second.close()


async def test_a_context_of_another_size_computes_for_itself(
    tiny_f16: Path, templates: TemplateProcess, tmp_path: Path
) -> None:
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})
    asked = completion(tuple(range(100, 450)), max_tokens=1)
    found = []
    for context_tokens in (1_024, 512, 1_024):
        wanted = Wanted(context_tokens=context_tokens, parallel=2)
        options = LoadOptions(wanted, threads=1, settings=settings)
        backend = await load(spec_of(tiny_f16), options, lambda share: None, templates)
        found.append(cached(await events_of(backend.complete(asked))))
        await backend.close()
    assert found == [0, 0, 349]


async def test_completions_are_interactive_and_chats_are_not_unless_they_say_so(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[GenerateRequest] = []
    submit = backend._engine.submit_all

    def note(requests: list[GenerateRequest], mailbox: Mailbox) -> list[int]:
        asked.extend(requests)
        return submit(requests, mailbox)

    monkeypatch.setattr(backend._engine, "submit_all", note)
    talk = chat("Hello", Generation(GREEDY, max_tokens=1))
    for priority in (None, *Priority):
        await events_of(backend.chat(replace(talk, priority=priority)))
        await events_of(backend.complete(replace(completion("x"), priority=priority)))
    chats, completions = asked[::2], asked[1::2]
    assert [one.priority for one in chats] == [Priority.CHAT, *Priority]
    assert [one.priority for one in completions] == [Priority.INTERACTIVE, *Priority]


# Prompts


async def test_the_begin_token_is_not_doubled(
    window_model: Path, templates: TemplateProcess
) -> None:
    backend = await load_tiny(window_model, templates)
    counts = []
    for prompt in ("abc", "<|im_start|>abc"):
        first, *_ = await events_of(backend.complete(completion(prompt)))
        assert isinstance(first, Accepted)
        counts.append(first.prompt_tokens)
    assert counts[0] == counts[1]
    await backend.close()


async def test_a_suffix_is_wrapped_in_the_tokens_that_fill_the_middle(
    backend: LocalBackend,
) -> None:
    raw = "<|fim_prefix|>the cat<|fim_suffix|> ran<|fim_middle|>"
    wrapped = await text_of(backend, completion("the cat", suffix=" ran"))
    assert wrapped == await text_of(backend, completion(raw))


async def test_echo_gives_the_prompt_first(backend: LocalBackend) -> None:
    plain = await text_of(backend, completion("the cat"))
    assert await text_of(backend, completion("the cat", echo=True)) == "the cat" + plain
    events = await events_of(backend.complete(completion("the cat", echo=True, max_tokens=0)))
    assert texts_of(events) == {0: "the cat"}


async def test_an_empty_prompt_is_answered(backend: LocalBackend) -> None:
    assert await text_of(backend, completion(""))


@pytest.mark.parametrize("token", [-1, 2_048])
async def test_a_token_that_does_not_exist_is_refused(backend: LocalBackend, token: int) -> None:
    with pytest.raises(InvalidRequest, match="2048"):
        await events_of(backend.complete(completion((1, token))))


@pytest.mark.parametrize("token", [-1, 2_048, 999_999_999])
async def test_a_bias_on_a_token_that_does_not_exist_is_refused_and_harms_nobody(
    backend: LocalBackend, token: int
) -> None:
    biased = replace(GREEDY, logit_bias=((token, 5.0),))
    with pytest.raises(InvalidRequest, match="2048") as refusal:
        await events_of(backend.complete(completion(sampling=biased)))
    assert refusal.value.param == "logit_bias"
    assert await text_of(backend, completion())


async def test_a_prompt_as_large_as_the_context_gets_one_token_and_a_larger_one_none(
    backend: LocalBackend,
) -> None:
    full = tuple(number % 1_000 for number in range(backend.facts.context_tokens))
    events = await events_of(backend.complete(completion(full, max_tokens=None)))
    completed = events[-1]
    assert isinstance(completed, Completed)
    assert completed.usage.completion_tokens == 1
    assert Finished(0, "length") in events
    with pytest.raises(ContextOverflow):
        await events_of(backend.complete(completion((*full, 1))))


@pytest.mark.parametrize("suffix", [None, "."])
async def test_a_text_that_no_tokens_could_make_fit_is_refused_before_it_is_tokenized(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch, suffix: str | None
) -> None:
    huge = "the cat " * (1 << 20)
    with monkeypatch.context() as patched:
        patched.setattr(LlamaVocabulary, "tokenize", None)
        with pytest.raises(ContextOverflow, match=r"has \d+ input tokens or more") as caught:
            await events_of(backend.complete(completion(huge, suffix=suffix)))
        with pytest.raises(ContextOverflow) as chatted:
            await events_of(backend.chat(chat(huge, Generation())))
    assert (caught.value.param, chatted.value.param) == ("prompt", "messages")
    assert 1_024 < caught.value.prompt_tokens <= 2 << 20
    assert await text_of(backend, completion())


# Sampling


async def test_equal_seeds_answer_equally_and_choices_differ(backend: LocalBackend) -> None:
    hot = Sampling(temperature=2.0, seed=7)
    one, other = [
        texts_of(await events_of(backend.complete(completion(sampling=hot, choices=2))))
        for _ in range(2)
    ]
    assert one == other
    assert one[0] != one[1]


async def test_log_probabilities_are_of_the_text_and_its_best_alternatives(
    backend: LocalBackend,
) -> None:
    events = await events_of(backend.complete(completion(top_logprobs=3)))
    tokens = [one for event in events if isinstance(event, TextDelta) for one in event.logprobs]
    assert b"".join(one.raw for one in tokens).decode() == texts_of(events)[0]
    assert len(tokens) == 8
    for one in tokens:
        assert [one.token, one.logprob] == [one.top[0].token, one.top[0].logprob]
        assert 0 >= one.top[0].logprob >= one.top[1].logprob >= one.top[2].logprob


async def test_a_stop_string_ends_the_answer_before_it(backend: LocalBackend) -> None:
    text = await text_of(backend, completion(max_tokens=16))
    stop = text[5:9]
    events = await events_of(backend.complete(completion(max_tokens=16, stop=(stop,))))
    assert texts_of(events)[0] == text[: text.index(stop)]
    assert Finished(0, "stop", stop) in events


# Cancelling and room


async def test_closing_the_stream_frees_its_cells(backend: LocalBackend) -> None:
    stream = backend.complete(completion(max_tokens=None, choices=4))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    assert backend.status().running > 0
    await stream.aclose()
    await until_idle(backend)
    # What is kept of it makes room for a request that needs the whole pool.
    full = tuple(number % 1_000 for number in range(backend.facts.context_tokens))
    assert await text_of(backend, completion(full, max_tokens=1))


async def test_closing_a_stream_that_computes_its_prompt_frees_its_cells(
    backend: LocalBackend,
) -> None:
    stream = backend.complete(completion(tuple(number % 900 for number in range(1_000))))
    assert isinstance(await anext(stream), Accepted)
    await stream.aclose()
    await until_idle(backend)
    assert await backend.responsive(PATIENCE_SECONDS)


async def test_a_pool_too_small_for_all_pauses_and_answers_as_each_alone(
    tiny_f16: Path, templates: TemplateProcess
) -> None:
    """Both are admitted with little room, and grow beyond what there is for two."""
    backend = await load_tiny(tiny_f16, templates, context_tokens=1_100)
    prompts = [tuple(range(start, start + 20)) for start in (300, 600)]
    asked = [completion(prompt, max_tokens=600) for prompt in prompts]
    together = await asyncio.gather(*(events_of(backend.complete(one)) for one in asked))
    for events in together:
        assert Finished(0, "length") in events
        completed = events[-1]
        assert isinstance(completed, Completed)
        assert completed.usage.completion_tokens == 600
    assert backend.status().cells_used <= backend.status().cells
    for prompt, events in zip(prompts, together, strict=True):
        alone = await text_of(backend, completion(prompt, max_tokens=12))
        # No further than the first near tie, which batch noise may decide.
        assert texts_of(events)[0].startswith(alone)
    await backend.close()


# Loading


async def test_more_context_than_the_model_was_trained_for_is_refused(
    tiny_f16: Path, templates: TemplateProcess
) -> None:
    with pytest.raises(ModelUnusable, match="40960"):
        await load_tiny(tiny_f16, templates, context_tokens=50_000)


async def test_progress_goes_up_to_the_whole(tiny_f16: Path, templates: TemplateProcess) -> None:
    shares: list[float] = []
    backend = await load(
        spec_of(tiny_f16),
        LoadOptions(Wanted(context_tokens=512), threads=1),
        shares.append,
        templates,
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    await backend.close()


async def test_models_share_the_renderer_and_one_that_goes_leaves_it_to_the_other(
    tiny_f16: Path, templates: TemplateProcess
) -> None:
    short = chat("Hello", Generation(sampling=GREEDY, max_tokens=2))
    children = set(psutil.Process().children())
    backends = [await load_tiny(tiny_f16, templates) for _ in range(3)]
    for backend in backends:
        assert await events_of(backend.chat(short))
    assert len(set(psutil.Process().children()) - children) == 1
    await asyncio.gather(*(backend.close() for backend in backends[:2]))
    assert await events_of(backends[2].chat(short))
    await backends[2].close()


async def test_a_load_that_is_cancelled_frees_all(
    tiny_f16: Path, templates: TemplateProcess
) -> None:
    loading = asyncio.create_task(load_tiny(tiny_f16, templates))
    await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    backend = await load_tiny(tiny_f16, templates)
    assert await text_of(backend, completion())
    await backend.close()


# A model that guesses ahead


async def load_with_draft(
    path: Path, draft: Path, templates: TemplateProcess, parallel: int = 4
) -> LocalBackend:
    facts = read_local(path).facts
    wanted = Wanted(1_024, parallel, companions=(draft_for(read_local(draft).facts, facts),))
    placed = place_model(path, facts, "tiny", wanted, None, lambda: False)
    placed = replace(placed, draft=draft)
    options = LoadOptions(wanted, threads=1)
    return await load(spec_of(path), options, lambda share: None, templates, placed=placed)


async def test_a_draft_guesses_ahead_and_what_it_did_is_told(
    tiny_f16: Path, templates: TemplateProcess
) -> None:
    backend = await load_with_draft(tiny_f16, tiny_f16, templates)
    before = guessed = 0
    async with asyncio.timeout(PATIENCE_SECONDS):  # on a slow machine a trial waits for its time
        while not guessed:
            before = backend.status().guessed_tokens
            asked = completion("the cat", "a dog", max_tokens=40)
            events = await events_of(backend.complete(asked))
            completed = events[-1]
            assert isinstance(completed, Completed)
            guessed = completed.timings.guessed_tokens
    assert completed.usage.completion_tokens == 80
    assert 0 < completed.timings.right_tokens <= guessed
    ends = [event.timings for event in events if isinstance(event, Finished)]
    assert sum(one.guessed_tokens for one in ends) == completed.timings.guessed_tokens
    status = backend.status()
    assert before == 0
    assert (status.guessed_tokens, status.right_tokens) == (
        guessed,
        completed.timings.right_tokens,
    )
    assert backend.memory is not None
    assert backend.memory.beside_bytes("draft") > 0
    await backend.close()


async def test_many_answers_are_cancelled_at_any_moment_beside_a_draft(
    tiny_f16: Path, templates: TemplateProcess
) -> None:
    backend = await load_with_draft(tiny_f16, tiny_f16, templates)

    async def begin(number: int) -> None:
        prompt = f"the cat {number % 3} " * 20
        asked = completion(prompt, max_tokens=60)
        async with aclosing(backend.complete(asked)) as events:
            count = 0
            async for _ in events:
                count += 1
                if count > number:
                    return

    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*(begin(number) for number in range(16)))
        events = await events_of(backend.complete(completion("the cat", max_tokens=20)))
    assert isinstance(events[-1], Completed)
    assert backend.status().running == 0
    await backend.close()


@pytest.fixture
def damaged(tiny_f16: Path, tmp_path: Path) -> Path:
    path = tmp_path / "damaged.gguf"
    path.write_bytes(tiny_f16.read_bytes()[:-1_000])
    return path


async def test_a_draft_that_was_damaged_meanwhile_is_an_error(
    tiny_f16: Path, templates: TemplateProcess, damaged: Path
) -> None:
    placed = place_model(
        tiny_f16, read_local(tiny_f16).facts, "tiny", Wanted(1_024, 2), None, lambda: False
    )
    placed = replace(placed, draft=damaged)
    with pytest.raises(ModelUnusable, match="damaged"):
        await load(spec_of(tiny_f16), LoadOptions(), lambda share: None, templates, placed=placed)
