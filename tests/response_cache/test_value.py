"""What is kept comes back to the letter, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import (
    Accepted,
    AnswerProgress,
    ArgumentsDelta,
    ChoiceShape,
    Completed,
    EmbeddingAnswer,
    Finished,
    Generation,
    GrammarShape,
    JsonShape,
    PromptProgress,
    ReasoningDelta,
    RegexShape,
    Report,
    Sampling,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallBegun,
    Usage,
)
from localserve.response_cache.value import Damaged, Item, decode, encode, tokens_of

NUMBERS = st.integers(0, 1 << 40)
TEXTS = st.text(st.characters(), max_size=12)
FLOATS = st.floats(allow_nan=False)
PROBABILITIES = st.builds(
    TokenLogprob,
    NUMBERS,
    TEXTS,
    st.binary(max_size=8),
    FLOATS,
    st.tuples(st.builds(TokenLogprob, NUMBERS, TEXTS, st.binary(max_size=4), FLOATS)),
)
USAGES = st.builds(Usage, NUMBERS, NUMBERS, NUMBERS)
TIMINGS = st.builds(Timings, FLOATS, FLOATS, FLOATS, NUMBERS)
GENERATIONS = st.builds(
    Generation,
    sampling=st.builds(
        Sampling,
        temperature=st.none() | FLOATS,
        logit_bias=st.none() | st.just(()) | st.tuples(st.tuples(NUMBERS, FLOATS)),
        seed=st.none() | NUMBERS,
        sure_only=st.none() | st.booleans(),
    ),
    stop=st.lists(TEXTS, max_size=2).map(tuple),
    shape=st.none()
    | st.builds(JsonShape, TEXTS)
    | st.builds(RegexShape, TEXTS)
    | st.builds(ChoiceShape, st.lists(TEXTS, max_size=3).map(tuple))
    | st.builds(GrammarShape, TEXTS),
    report=st.builds(Report, st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
EVENTS = st.one_of(
    st.builds(
        Accepted,
        TEXTS,
        NUMBERS,
        NUMBERS,
        GENERATIONS,
        NUMBERS,
        st.lists(TEXTS, max_size=2).map(tuple),
    ),
    st.builds(PromptProgress, NUMBERS, NUMBERS, NUMBERS, NUMBERS, FLOATS),
    st.builds(AnswerProgress, NUMBERS, NUMBERS, FLOATS),
    st.builds(
        TextDelta,
        NUMBERS,
        TEXTS,
        st.lists(PROBABILITIES, max_size=2).map(tuple),
        st.lists(NUMBERS, max_size=3).map(tuple),
    ),
    st.builds(ReasoningDelta, NUMBERS, TEXTS),
    st.builds(ToolCallBegun, NUMBERS, NUMBERS, TEXTS, TEXTS),
    st.builds(ArgumentsDelta, NUMBERS, NUMBERS, TEXTS),
    st.builds(
        Finished,
        NUMBERS,
        st.sampled_from(["stop", "length", "tool_calls"]),
        st.none() | TEXTS,
        USAGES,
        TIMINGS,
    ),
    st.builds(Completed, USAGES, TIMINGS),
)


@given(st.lists(EVENTS, max_size=6))
def test_events_come_back_with_every_field(events: list[Item]) -> None:
    # repr shows also what does not count where events are compared.
    assert repr(decode(encode(events))) == repr(events)


@given(st.integers(0, 3), st.integers(1, 5))
def test_vectors_come_back_bit_for_bit(inputs: int, width: int) -> None:
    vectors = np.random.default_rng(inputs).standard_normal((inputs, width)).astype(np.float32)
    (found,) = decode(encode([EmbeddingAnswer("m", vectors, 7)]))
    assert isinstance(found, EmbeddingAnswer)
    assert (found.model, found.prompt_tokens) == ("m", 7)
    assert found.vectors.dtype == np.float32
    assert found.vectors.shape == vectors.shape
    assert found.vectors.tobytes() == vectors.tobytes()


@given(st.data())
def test_no_changed_byte_is_taken_for_an_answer(data: st.DataObject) -> None:
    value = bytearray(encode([TextDelta(0, "Paris"), Completed(Usage(1, 2), Timings())]))
    place = data.draw(st.integers(0, len(value) - 1))
    value[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        decode(bytes(value))


@given(st.binary(max_size=64))
def test_no_other_bytes_are_taken_for_an_answer(value: bytes) -> None:
    with pytest.raises(Damaged):
        decode(value)


def test_what_a_kept_answer_saves_is_its_tokens() -> None:
    assert tokens_of([TextDelta(0, "a"), Completed(Usage(10, 3, 4), Timings())]) == 13
    assert tokens_of([EmbeddingAnswer("m", np.zeros((1, 2), np.float32), 5)]) == 5
    assert tokens_of([]) == 0
