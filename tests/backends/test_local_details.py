"""What a local backend tells besides texts, over a small random model that never ends by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localserve.backends.local import LocalBackend
from localserve.chat import (
    DEFAULT_SAMPLING,
    Accepted,
    AnswerProgress,
    CompletionRequest,
    ExtraText,
    Finished,
    Generation,
    InfillRequest,
    PromptProgress,
    Report,
    Sampling,
    TextDelta,
)
from localserve.errors import InvalidRequest
from tests.backends.test_local import (
    GREEDY,
    backend,
    chat,
    completion,
    events_of,
    spec_of,
    templates,
    texts_of,
)

__all__ = ["backend", "templates"]


async def test_an_answer_begins_with_what_it_is_made_by(backend: LocalBackend) -> None:
    asked = completion("a cat", (1, "dog"), max_tokens=3)
    generation = replace(asked.generation, report=Report(prompts=True))
    accepted, *_ = await events_of(backend.complete(replace(asked, generation=generation)))
    assert isinstance(accepted, Accepted)
    assert accepted.context_tokens == backend.facts.context_tokens
    assert accepted.generation.sampling == GREEDY.over(DEFAULT_SAMPLING)
    assert accepted.generation.max_tokens == 3
    assert accepted.prompts[0] == "a cat"
    assert accepted.prompts[1].endswith("dog")


async def test_each_choice_ends_with_its_own_numbers(backend: LocalBackend) -> None:
    events = await events_of(backend.complete(completion("a", "a b c d e f", max_tokens=4)))
    ends = sorted(
        (event for event in events if isinstance(event, Finished)), key=lambda end: end.choice
    )
    one, other = (end.usage for end in ends)
    assert one.completion_tokens == other.completion_tokens == 4
    assert one.prompt_tokens < other.prompt_tokens
    assert all(end.timings.prompt_ms > 0 for end in ends)


async def test_ids_and_progress_are_told_where_they_are_asked_for(backend: LocalBackend) -> None:
    report = Report(tokens=True, progress=True, timings=True)
    generation = Generation(GREEDY, max_tokens=5, report=report)
    events = await events_of(
        backend.complete(CompletionRequest("tiny", ("a b c",), generation=generation))
    )
    last = [event for event in events if isinstance(event, PromptProgress)][-1]
    assert last.computed_tokens == last.prompt_tokens > 0
    tokens = [token for one in events if isinstance(one, TextDelta) for token in one.tokens]
    assert len(tokens) == 5
    text = b"".join(await backend.spell(tokens)).decode("utf-8", "replace")
    assert text == texts_of(events)[0]
    counts = [event.answer_tokens for event in events if isinstance(event, AnswerProgress)]
    assert counts[-1] == 5
    assert counts == sorted(counts)


async def test_times_alone_tell_no_ids(backend: LocalBackend) -> None:
    generation = Generation(GREEDY, max_tokens=5, report=Report(timings=True))
    events = await events_of(backend.chat(chat("hello", generation)))
    assert any(isinstance(event, AnswerProgress) for event in events)
    assert not any(event.tokens for event in events if isinstance(event, TextDelta))


async def test_a_middle_is_computed_behind_its_markers(backend: LocalBackend) -> None:
    generation = Generation(GREEDY, max_tokens=3, report=Report(prompts=True))
    asked = InfillRequest("tiny", "a", "c", "b", (ExtraText("x.py", "1"),), generation)
    accepted, *_ = await events_of(backend.infill(asked))
    assert isinstance(accepted, Accepted)
    assert accepted.prompts[0].endswith("<|fim_prefix|>ab<|fim_suffix|>c<|fim_middle|>")
    assert "x.py" in accepted.prompts[0]
    assert accepted.left_out_tokens == 0


async def test_a_middle_is_cut_where_its_context_is_too_small(backend: LocalBackend) -> None:
    asked = InfillRequest("tiny", "word " * 5_000, "c", generation=Generation(GREEDY, max_tokens=1))
    accepted, *_ = await events_of(backend.infill(asked))
    assert isinstance(accepted, Accepted)
    assert accepted.left_out_tokens > 0
    assert accepted.prompt_tokens <= backend.facts.context_tokens


async def test_a_bias_for_a_text_is_one_for_its_tokens(backend: LocalBackend) -> None:
    wanted = Generation(GREEDY, max_tokens=3, text_bias=(("zebra", 100.0),))
    request = CompletionRequest("tiny", ("a",), generation=wanted)
    text = texts_of(await events_of(backend.complete(request)))[0]
    ids = await backend.tokenize("zebra", add_special=False, parse_special=False)
    pieces = [piece.decode() for piece in await backend.spell(ids)]
    assert any(piece in text for piece in pieces)


@pytest.mark.parametrize("tokens", [[-1], [1 << 30]])
async def test_what_is_no_token_has_no_spelling(backend: LocalBackend, tokens: list[int]) -> None:
    with pytest.raises(InvalidRequest, match="There is no token"):
        await backend.spell(tokens)


async def test_what_runs_can_be_looked_at(backend: LocalBackend) -> None:
    assert await backend.look() == ()
    stream = backend.complete(completion(max_tokens=None))
    async for event in stream:
        if isinstance(event, TextDelta):
            break
    (view,) = await backend.look()
    assert view.answer_tokens >= 1
    await stream.aclose()


async def test_a_conversation_is_rendered_and_counted(backend: LocalBackend) -> None:
    request = chat("hello", Generation())
    text = await backend.render(request)
    assert "hello" in text
    assert text.startswith(await backend.render(request, generation_prompt=False))
    ids = await backend.tokenize(text, add_special=True, parse_special=True)
    assert (await backend.count_tokens(request)).prompt_tokens == len(ids)


async def test_new_settings_are_told(backend: LocalBackend) -> None:
    spec = spec_of(backend._spec.source.path)  # type: ignore[union-attr]
    changed = replace(spec, sampling=Sampling(temperature=0.25), chat_template="{{ 'hi' }}")
    backend.reconfigure(changed)
    assert backend.facts.sampling.temperature == 0.25
    assert backend.facts.chat_template == "{{ 'hi' }}"
