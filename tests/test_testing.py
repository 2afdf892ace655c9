"""The fake backend keeps the rules of a real one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import (
    Accepted,
    ChatEvent,
    ChatRequest,
    Completed,
    CompletionRequest,
    EmbeddingRequest,
    Finished,
    Generation,
    Message,
    RerankRequest,
    TextDelta,
)
from localserve.errors import ContextOverflow, EngineFailed, InvalidRequest
from localserve.manager import Ready
from localserve.testing import FakeBackend, fake_manager


async def answer(backend: FakeBackend, **generation: object) -> list[ChatEvent]:
    request = ChatRequest(
        "fake",
        (Message("user", "one two"),),
        generation=Generation(**generation),  # type: ignore[arg-type]
    )
    return [event async for event in backend.chat(request)]


def text(events: list[ChatEvent], choice: int = 0) -> str:
    deltas = [event for event in events if isinstance(event, TextDelta)]
    return "".join(delta.text for delta in deltas if delta.choice == choice)


async def test_events_come_in_the_order_of_the_vocabulary() -> None:
    events = await answer(FakeBackend("a b"), choices=2)
    assert events[0] == Accepted("fake", 2)
    assert isinstance(events[-1], Completed)
    assert events[-1].usage.completion_tokens == 4
    for choice in range(2):
        assert text(events, choice) == "a b"
        ends = [n for n, one in enumerate(events) if one == Finished(choice, "stop")]
        last = max(
            n for n, one in enumerate(events) if isinstance(one, TextDelta) and one.choice == choice
        )
        assert len(ends) == 1
        assert last < ends[0]


@given(st.text())
async def test_a_text_is_never_changed_by_its_splitting(script: str) -> None:
    assert text(await answer(FakeBackend(script))) == script


async def test_the_script_sees_the_messages() -> None:
    backend = FakeBackend(lambda messages: messages[-1].content or "")
    assert text(await answer(backend)) == "one two"


async def test_a_limit_ends_with_length() -> None:
    events = await answer(FakeBackend("a b c"), max_tokens=2)
    assert text(events) == "a b"
    assert Finished(0, "length") in events


@pytest.mark.parametrize("pieces", [["a", " STOP b"], ["a ", "ST", "OP", "b"], ["a STOP b"]])
async def test_a_stop_string_ends_the_text_before_it(pieces: list[str]) -> None:
    events = await answer(FakeBackend(lambda _: pieces), stop=("STOP",))
    assert text(events) == "a "
    assert Finished(0, "stop", "STOP") in events


async def test_log_probabilities_come_with_every_piece_when_asked_for() -> None:
    events = await answer(FakeBackend("a b"), top_logprobs=3)
    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert [len(delta.logprobs[0].top) for delta in deltas] == [3, 3]


async def test_a_prompt_that_is_too_long_overflows() -> None:
    with pytest.raises(ContextOverflow) as caught:
        await answer(FakeBackend(context_tokens=1))
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (2, 1)


async def test_a_failure_comes_after_its_pieces() -> None:
    backend = FakeBackend("a b c", failure=EngineFailed("x"), failure_after=2)
    events = backend.chat(ChatRequest("", ()))
    assert text([await anext(events) for _ in range(3)]) == "a b"
    with pytest.raises(EngineFailed):
        await anext(events)
    assert (backend.running, backend.cancelled) == (0, 1)


async def test_closing_the_generator_is_counted() -> None:
    backend = FakeBackend("a b")
    events = backend.chat(ChatRequest("", ()))
    await anext(events)
    assert backend.running == 1
    await events.aclose()
    assert (backend.running, backend.cancelled) == (0, 1)


async def test_a_completion_is_asked_as_one_message_a_prompt() -> None:
    backend = FakeBackend(lambda messages: f" after {messages[0].content}")
    request = CompletionRequest("fake", ("a", (1, 2)), echo=True)
    events = [event async for event in backend.complete(request)]
    assert text(events, 0) == "a after a"
    assert text(events, 1) == "<1><2> after <1><2>"
    assert events[0] == Accepted("fake", 3)


@pytest.mark.parametrize("inputs", [((257,),), ("", "a"), ((),)])
async def test_what_has_no_vector_is_refused(inputs: tuple[str | tuple[int, ...], ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await FakeBackend().embed(EmbeddingRequest("fake", inputs))
    assert caught.value.param == "input"


async def test_no_vector_is_longer_than_the_models() -> None:
    with pytest.raises(InvalidRequest, match="65 dimensions") as caught:
        await FakeBackend().embed(EmbeddingRequest("fake", ("a",), dimensions=65))
    assert caught.value.param == "dimensions"


async def test_a_query_without_words_shares_none() -> None:
    answer = await FakeBackend().rerank(RerankRequest("fake", " ", ("a", "")))
    assert answer.scores == (0.0, 0.0)


async def test_the_manager_hands_out_the_backend() -> None:
    backend = FakeBackend()
    manager = fake_manager(backend)
    async with manager.lease("FAKE") as leased:
        assert leased.backend is backend
    assert isinstance(manager.state, Ready)
    await manager.close()
    assert backend.closed
