"""Which questions have the same answer, and which answers are whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import (
    Accepted,
    ChatRequest,
    Completed,
    CompletionRequest,
    EmbeddingRequest,
    Finished,
    FinishReason,
    Generation,
    InfillRequest,
    JsonShape,
    Message,
    Priority,
    Sampling,
    TextDelta,
    Timings,
    Tool,
    Usage,
)
from localserve.config import Settings, read_settings
from localserve.response_cache.question import (
    Key,
    Question,
    is_determined,
    is_whole,
    key_of,
    settled,
    without_words,
    words_of,
)
from localserve.response_cache.value import Item

SPEC = ModelSpec("m", LocalFile(Path("m.gguf")))
SETTINGS: Settings = read_settings({}, {})
GREEDY = Generation(Sampling(temperature=0.0))


def chat(text: str = "Hello", generation: Generation = GREEDY, **more: Any) -> ChatRequest:
    messages = (Message("user", text),)
    return ChatRequest("m", **{"messages": messages, "generation": generation, **more})


def key(
    request: Question,
    spec: ModelSpec = SPEC,
    settings: Settings = SETTINGS,
    files: object = 1,
    scope: str = "",
    version: str = "1",
) -> Key:
    return key_of(
        settled(request, spec, settings),
        spec,
        settings,
        files=files,
        scope=scope,
        versions=[version],
    )


@pytest.mark.parametrize(
    ("sampling", "determined"),
    [
        (Sampling(temperature=0.0), True),
        (Sampling(temperature=1.0, seed=0), True),
        (Sampling(), False),
        (Sampling(temperature=0.1), False),
    ],
)
def test_greedy_answers_and_those_with_a_seed_are_determined(
    sampling: Sampling, determined: bool
) -> None:
    generation = Generation(sampling)
    for request in (
        chat(generation=generation),
        CompletionRequest("m", ("a",), generation=generation),
        InfillRequest("m", "a", "b", generation=generation),
    ):
        assert is_determined(settled(request, SPEC, SETTINGS)) is determined


def test_the_models_own_sampling_may_determine_an_answer() -> None:
    spec = replace(SPEC, sampling=Sampling(temperature=0.0))
    assert is_determined(settled(chat(generation=Generation()), spec, SETTINGS))


def test_a_limit_in_seconds_leaves_the_answer_to_the_machine() -> None:
    assert not is_determined(chat(generation=replace(GREEDY, line_seconds=1.0)))


def test_what_only_warms_the_prompt_up_is_computed_each_time() -> None:
    assert not is_determined(chat(generation=replace(GREEDY, max_tokens=0)))


def test_vectors_are_determined_where_there_are_any() -> None:
    assert is_determined(EmbeddingRequest("m", ("a",)))
    assert not is_determined(EmbeddingRequest("m", ()))


SAME: list[tuple[Question, Question]] = [
    (chat(), chat(priority=Priority.BACKGROUND)),
    (chat(), chat(deadline_seconds=3.0)),
    (
        InfillRequest("m", "a", "b", generation=GREEDY),
        InfillRequest("m", "a", "b", generation=GREEDY, file="f", user="u"),
    ),
    (chat(), chat(keep_alive_seconds=5.0)),
    (chat(), replace(chat(), model="alias", scope="other")),
    (chat(), chat(generation=replace(GREEDY, reuse=False))),
    (chat(), chat(generation=Generation(Sampling(temperature=0.0, seed=7)))),
    (chat(), chat(generation=Generation(Sampling(temperature=0.0, top_p=0.95, top_k=40)))),
    (
        chat(template_options={"a": 1, "b": {"c": 2, "d": 3}}),
        chat(template_options={"b": {"d": 3, "c": 2}, "a": 1}),
    ),
    (
        chat(tools=(Tool("f", parameters={"type": "object", "title": "x"}),)),
        chat(tools=(Tool("f", parameters={"title": "x", "type": "object"}),)),
    ),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_says_nothing_about_the_answer_is_not_in_the_key(
    one: Question, other: Question
) -> None:
    assert key(one) == key(other)


OTHERS: list[Question] = [
    chat(),
    chat("hello"),
    chat("Hello "),
    chat(generation=replace(GREEDY, max_tokens=5)),
    chat(generation=replace(GREEDY, stop=("x",))),
    chat(generation=replace(GREEDY, choices=2)),
    chat(generation=replace(GREEDY, top_logprobs=0)),
    chat(generation=Generation(Sampling(temperature=0.5, seed=1))),
    chat(generation=Generation(Sampling(temperature=0.5, seed=2))),
    chat(generation=Generation(Sampling(temperature=0.0, repeat_penalty=1.1))),
    chat(tools=(Tool("f"),)),
    chat(tools=(Tool("f", strict=True),)),
    chat(template_options={"enable_thinking": False}),
    chat(template_options={"enable_thinking": 0}),
    chat(continue_last=False),
    chat(reasoning_tokens=10),
    ChatRequest("m", (Message("system", "Hello"),), generation=GREEDY),
    CompletionRequest("m", ("Hello",), generation=GREEDY),
    CompletionRequest("m", ((1, 2),), generation=GREEDY),
    CompletionRequest("m", (("1", 2),), generation=GREEDY),
    InfillRequest("m", "Hello", "", generation=GREEDY),
    EmbeddingRequest("m", ("Hello",)),
    EmbeddingRequest("m", ("Hello",), dimensions=8),
]


def test_whatever_matters_is_in_the_key() -> None:
    assert len({key(request) for request in OTHERS}) == len(OTHERS)


def test_model_template_scope_and_versions_are_in_the_key() -> None:
    keys = {
        key(chat()),
        key(chat(), files=2),
        key(chat(), scope="other"),
        key(chat(), version="2"),
        key(chat(), spec=replace(SPEC, name="n")),
        key(chat(), spec=replace(SPEC, chat_template="{{ messages }}")),
        key(chat(), spec=replace(SPEC, cache_type_k="q8_0")),
        key(chat(), spec=replace(SPEC, context_tokens=512)),
        key(chat(), settings=replace(SETTINGS, context_tokens=512)),
        key(chat(), settings=replace(SETTINGS, default_max_tokens=9)),
    }
    assert len(keys) == 10


def test_the_servers_cap_counts_as_the_requests_own() -> None:
    capped = replace(SETTINGS, default_max_tokens=9)
    own = chat(generation=replace(GREEDY, max_tokens=9))
    assert key(chat(), settings=capped) == key(own, settings=capped) == key(own)


def test_white_space_folds_where_that_is_wanted() -> None:
    folding = replace(SETTINGS, response_cache_fold_space=True)
    for one, other in (
        (chat("a  b\n"), chat(" a b")),
        (EmbeddingRequest("m", ("a  b",)), EmbeddingRequest("m", ("a b ",))),
    ):
        assert key(one) != key(other)
        assert key(one, settings=folding) == key(other, settings=folding)
    code = [CompletionRequest("m", (text,), generation=GREEDY) for text in ("a  b", "a b")]
    assert key(code[0], settings=folding) != key(code[1], settings=folding)


def test_only_a_single_question_may_be_asked_in_other_words() -> None:
    system, user = Message("system", "Short."), Message("user", "Hello")
    assert words_of(chat()) == "Hello"
    assert words_of(chat(messages=(system, user))) == "Hello"
    for messages in ((), (system,), (user, Message("assistant", "Hi")), (user, user)):
        assert words_of(replace(chat(), messages=messages)) is None
    assert words_of(chat(tools=(Tool("f"),))) is None
    assert words_of(chat(generation=replace(GREEDY, shape=JsonShape("{}")))) is None
    assert words_of(chat(generation=replace(GREEDY, top_logprobs=0))) is None
    assert words_of(CompletionRequest("m", ("Hello",))) is None
    assert key(without_words(chat("a"))) == key(without_words(chat("b")))
    assert key(without_words(chat("a"))) != key(without_words(chat("a", reasoning_tokens=1)))


def answer(reason: FinishReason, tokens: int, cap: int | None, left_out: int = 0) -> list[Item]:
    accepted = Accepted("m", 1, 64, Generation(max_tokens=cap), left_out)
    usage = Usage(1, tokens)
    finished = Finished(0, reason, usage=usage)
    return [accepted, TextDelta(0, "a"), finished, Completed(usage, Timings())]


def test_an_answer_is_whole_unless_the_context_ended_it() -> None:
    assert is_whole(answer("stop", 3, None))
    assert is_whole(answer("length", 5, 5))
    assert not is_whole(answer("length", 4, 5))
    assert not is_whole(answer("length", 5, None))
    assert not is_whole(answer("stop", 3, None, left_out=1))
    assert not is_whole(answer("stop", 3, None)[:-1])
    assert not is_whole([])
