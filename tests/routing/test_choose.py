"""Which model of a route comes first, and who comes behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from localserve.backends.affinity import beginning_of, drawn
from localserve.catalog.routes import Hours, Route, Strategy, Target
from localserve.chat import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    InfillRequest,
    Message,
    RerankRequest,
)
from localserve.routing.choose import Candidate, Decision, Needs, choose
from localserve.routing.complexity import Complexity, Features

NOON = 12 * 60
STRATEGIES: tuple[Strategy, ...] = ("order", "complexity", "latency", "cost", "weight")


def needs(score: float = 0.0, conversation: str = "", **features: Any) -> Needs:
    asked = Features(**({"asked": "Hello"} | features))
    return Needs(asked, Complexity(score, {}), True, conversation)


def route(by: Strategy, *targets: Target, **more: Any) -> Route:
    return Route("auto", by, targets, **more)


def names(decision: Decision) -> list[str]:
    return [choice.model for choice in decision.order]


def order(of: Route, wanted: Needs, *candidates: Candidate, minute: int = NOON) -> list[str]:
    return names(choose(of, candidates, wanted, minute))


SMALL, MIDDLE, LARGE = Target("small", up_to=0.3), Target("middle", up_to=0.6), Target("large")


def test_complexity_takes_the_smallest_that_is_meant_for_it_then_larger_ones() -> None:
    by_size = route("complexity", LARGE, SMALL, MIDDLE)
    candidates = [Candidate(one) for one in by_size.targets]
    assert order(by_size, needs(0.1), *candidates) == ["small", "middle", "large"]
    assert order(by_size, needs(0.3), *candidates)[0] == "small"
    assert order(by_size, needs(0.31), *candidates) == ["middle", "large", "small"]
    assert order(by_size, needs(0.9), *candidates) == ["large", "middle", "small"]


def test_latency_tries_what_was_not_measured_then_the_quickest() -> None:
    by_speed = route("latency", SMALL, MIDDLE, LARGE)
    slow = Candidate(SMALL, first_token_seconds=2.0)
    quick = Candidate(MIDDLE, first_token_seconds=0.5)
    assert order(by_speed, needs(), slow, quick, Candidate(LARGE)) == ["large", "middle", "small"]


def test_cost_counts_what_is_written_then_the_size() -> None:
    dear, free = Target("dear", cost=2.0), Target("free")
    by_cost = route("cost", dear, LARGE, free)
    candidates = (Candidate(dear), Candidate(LARGE, parameters=70), Candidate(free, parameters=7))
    assert order(by_cost, needs(), *candidates) == ["free", "large", "dear"]


def test_weights_share_conversations_and_keep_each_where_it_is() -> None:
    heavy, light = Target("heavy", weight=3.0), Target("light", weight=1.0)
    shared = route("weight", light, heavy)
    candidates = (Candidate(light), Candidate(heavy))
    first = Counter(order(shared, needs(0, str(n)), *candidates)[0] for n in range(2000))
    assert 1400 < first["heavy"] < 1600
    assert len({order(shared, needs(0, "one"), *candidates)[0] for _ in range(10)}) == 1


@given(st.text(), st.lists(st.text(), min_size=2, max_size=8, unique=True), st.data())
def test_a_name_that_goes_moves_only_its_own_conversations(
    conversation: str, models: list[str], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(models))
    best = min(models, key=lambda one: drawn(conversation, one, 1.0))
    left = [one for one in models if one != gone]
    if best != gone:
        assert min(left, key=lambda one: drawn(conversation, one, 1.0)) == best


def test_who_cannot_comes_behind_who_can() -> None:
    plain = route("order", SMALL, MIDDLE, LARGE)
    narrow = Candidate(SMALL, context_tokens=100)
    toolless = Candidate(MIDDLE, tools=False)
    able = Candidate(LARGE, tools=True, context_tokens=32768)
    wanted = needs(tools=1, other_tokens=20_000)
    decision = choose(plain, (narrow, toolless, able), wanted, NOON)
    assert names(decision) == ["large", "middle", "small"]
    assert [choice.lacks for choice in decision.order] == [(), ("tools",), ("context",)]
    assert order(plain, needs(), narrow, toolless, able) == ["small", "middle", "large"]


def test_the_answer_needs_room_too() -> None:
    plain = route("order", SMALL, LARGE)
    narrow, wide = Candidate(SMALL, context_tokens=1000), Candidate(LARGE, context_tokens=8000)
    assert order(plain, needs(max_tokens=2000), narrow, wide) == ["large", "small"]


def test_who_is_busy_or_failed_is_asked_later() -> None:
    plain = route("order", SMALL, MIDDLE, LARGE, max_waiting=4)
    busy, full = Candidate(SMALL, waiting=5), Candidate(MIDDLE, waiting=4)
    assert order(plain, needs(), busy, full, Candidate(LARGE)) == ["middle", "large", "small"]
    resting = Candidate(MIDDLE, resting=True)
    assert order(plain, needs(), busy, resting, Candidate(LARGE)) == ["large", "small", "middle"]


def test_who_was_made_for_something_else_comes_last() -> None:
    plain = route("order", SMALL, LARGE)
    embedder, chat = Candidate(SMALL, writes_text=False), Candidate(LARGE, writes_text=True)
    assert order(plain, needs(), embedder, chat) == ["large", "small"]
    vectors = replace(needs(), writes_text=False)
    assert order(plain, vectors, chat, embedder) == ["small", "large"]


def test_hours_close_a_model() -> None:
    night = Target("night", hours=Hours(22 * 60, 6 * 60))
    plain = route("order", night, LARGE)
    candidates = (Candidate(night), Candidate(LARGE))
    assert order(plain, needs(), *candidates, minute=23 * 60) == ["night", "large"]
    assert order(plain, needs(), *candidates, minute=5 * 60 + 59) == ["night", "large"]
    by_day = choose(plain, candidates, needs(), NOON)
    assert (names(by_day), by_day.closed) == (["large"], (night,))


def test_fallbacks_come_behind_whatever_speaks_against_the_others() -> None:
    last = Target("last")
    plain = route("order", SMALL, fallbacks=(last,))
    decision = choose(plain, (Candidate(SMALL, resting=True), Candidate(last)), needs(), NOON)
    assert names(decision) == ["small", "last"]
    assert decision.order[1].why == "fallback"


TARGETS = st.builds(
    Target,
    model=st.text("abcdefgh", min_size=1, max_size=3),
    up_to=st.floats(0, 1),
    cost=st.none() | st.floats(0, 10),
    weight=st.floats(0.01, 100),
)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        target=TARGETS,
        known=st.booleans(),
        tools=st.none() | st.booleans(),
        context_tokens=st.none() | st.integers(64, 10**6),
        waiting=st.integers(0, 100),
        parameters=st.none() | st.integers(1, 10**12),
        first_token_seconds=st.none() | st.floats(0, 100),
        resting=st.booleans(),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: one.target.model,
)


@given(st.sampled_from(STRATEGIES), CANDIDATES, st.integers(0, 10**6), st.integers(0, 9))
def test_nobody_is_lost_and_who_lacks_nothing_comes_first(
    by: Strategy, candidates: list[Candidate], tokens: int, tools: int
) -> None:
    made = Route("r", by, tuple(one.target for one in candidates), max_waiting=50)
    wanted = needs(0.5, "c", other_tokens=tokens, tools=tools)
    decision = choose(made, candidates, wanted, NOON)
    assert sorted(names(decision)) == sorted(one.target.model for one in candidates)
    lacking = [bool(choice.lacks) for choice in decision.order]
    assert lacking == sorted(lacking)
    assert decision == choose(made, candidates, wanted, NOON)


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_hours_and_their_complement_share_the_day(begin: int, end: int, minute: int) -> None:
    inside = Hours(begin, end).hold(minute)
    assert inside is True if begin == end else inside != Hours(end, begin).hold(minute)


def test_turns_of_a_conversation_share_its_beginning() -> None:
    first = ChatRequest("", (Message("system", "Be kind."), Message("user", "Hello")))
    turn = replace(
        first, messages=(*first.messages, Message("assistant", "Hi"), Message("user", "So?"))
    )
    assert beginning_of(first) == beginning_of(turn)
    assert beginning_of(first) != beginning_of(replace(first, scope="another"))
    other = replace(first, messages=(first.messages[0], Message("user", "Bye")))
    assert beginning_of(first) != beginning_of(other)


def test_other_questions_have_a_beginning_of_their_text() -> None:
    long = "x" * 5000
    assert beginning_of(CompletionRequest("", (long,))) == beginning_of(
        CompletionRequest("", (long + "y",))
    )
    kinds = {
        beginning_of(InfillRequest("", "a", "b")),
        beginning_of(EmbeddingRequest("", ("b",))),
        beginning_of(RerankRequest("", "c", ())),
        beginning_of(CompletionRequest("", ("d",))),
    }
    assert len(kinds) == 4
