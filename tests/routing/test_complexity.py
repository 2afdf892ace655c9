"""The score of requests, held against labels and against what it must never do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    Generation,
    InfillRequest,
    Message,
    RerankRequest,
    Tool,
)
from localserve.routing.complexity import SMALL as SMALL_SCORE
from localserve.routing.complexity import Features, complexity, features_of, guess_tokens
from tests.routing.labelled import LARGE, SMALL

FEATURES = st.builds(
    Features,
    asked=st.text(max_size=300),
    other_tokens=st.integers(0, 10**7),
    turns=st.integers(1, 1000),
    tools=st.integers(0, 500),
    max_tokens=st.none() | st.integers(0, 10**7),
)


def test_there_are_sixty_labelled_requests() -> None:
    assert (len(SMALL), len(LARGE)) == (30, 30)
    assert len({one.asked for one in (*SMALL, *LARGE)}) == 60


def test_at_least_nine_of_ten_labelled_requests_are_told_apart() -> None:
    wrong = [one.asked[:60] for one in SMALL if complexity(one).score > SMALL_SCORE]
    wrong += [one.asked[:60] for one in LARGE if complexity(one).score <= SMALL_SCORE]
    assert len(wrong) <= 6, wrong


@given(FEATURES)
def test_a_score_is_the_sum_of_its_parts_within_bounds(features: Features) -> None:
    found = complexity(features)
    assert 0.0 <= found.score <= 1.0
    assert all(part >= 0.0 for part in found.parts.values())
    assert found.score == pytest.approx(min(1.0, sum(found.parts.values())))


@given(FEATURES, st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 100))
def test_more_of_anything_never_makes_a_request_simpler(
    features: Features, tokens: int, turns: int, tools: int
) -> None:
    more = replace(
        features,
        other_tokens=features.other_tokens + tokens,
        turns=features.turns + turns,
        tools=features.tools + tools,
    )
    assert complexity(more).score >= complexity(features).score


def test_a_huge_text_is_searched_at_both_ends_only() -> None:
    middle = "x " * 50_000
    assert complexity(Features(f"Prove it. {middle}")).parts["demand"] > 0
    assert complexity(Features(f"{middle} Prove it.")).parts["demand"] > 0
    assert complexity(Features(f"{middle} Prove it. {middle}")).parts["demand"] == 0


def test_code_and_lists_are_seen_line_by_line() -> None:
    assert complexity(Features("x = 1;\n\n   y = 2;")).parts["code"] == 0.2
    assert complexity(Features("x = 1;\n\n   y = 2")).parts["code"] == 0.0
    listed = "Do:\n  - one\n  2) two\n c) three"
    assert complexity(Features(listed)).parts["parts"] == pytest.approx(0.15)
    assert complexity(Features("\n \n" * 5000)).parts["code"] == 0.0


def test_a_conversation_is_seen_by_its_last_question() -> None:
    request = ChatRequest(
        "",
        (
            Message("system", "Be brief. " * 40),
            Message("user", "Prove Fermat's theorem."),
            Message("assistant", "No."),
            Message("user", "Hello"),
        ),
        tools=(Tool("look", "Looks.", {"type": "object"}),),
        generation=Generation(max_tokens=7),
    )
    found = features_of(request)
    assert (found.asked, found.turns, found.tools, found.max_tokens) == ("Hello", 2, 1, 7)
    assert found.other_tokens > guess_tokens("Be brief. " * 40)


def test_every_kind_of_question_has_features() -> None:
    assert features_of(CompletionRequest("", ("Once", (1, 2, 3)))).prompt_tokens == 4
    assert features_of(InfillRequest("", "ab", "cd")).asked == "abcd"
    assert features_of(EmbeddingRequest("", ("a" * 40, (1, "abcd")))).prompt_tokens == 10
    assert features_of(RerankRequest("", "why", ("a" * 400,))).prompt_tokens == 101
    assert features_of(ChatRequest("", ())).turns == 1
