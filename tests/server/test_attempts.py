"""One model of a route after another, whatever they do."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from hypothesis import given
from hypothesis import strategies as st

from localserve.catalog.routes import Route, Target
from localserve.chat import Accepted, ChatEvent, ChatRequest, Completed, Message, TextDelta
from localserve.errors import ContextOverflow, EngineFailed, InvalidRequest, LocalserveError
from localserve.routing.choose import Candidate, Needs, choose
from localserve.routing.measured import Measured
from localserve.server.attempts import Way, along, reason_of
from localserve.server.records import RequestRecord
from localserve.testing import FakeBackend

REQUEST = ChatRequest("auto", (Message("user", "Hello"),))
FAILURES = (EngineFailed("Gone."), ContextOverflow(9, 8), InvalidRequest("Wrong."))
WORDS = 3

OUTCOMES = st.lists(
    st.none() | st.tuples(st.sampled_from(FAILURES), st.integers(0, WORDS)), min_size=1, max_size=5
)
"""What each model does: nothing wrong, or which failure after how many words."""


@given(OUTCOMES)
async def test_the_first_that_says_a_word_or_refuses_for_good_is_the_last_that_is_asked(
    outcomes: list[tuple[LocalserveError, int] | None],
) -> None:
    names = [f"m{number}" for number in range(len(outcomes))]
    backends = {
        name: FakeBackend(
            " ".join([name] * WORDS),
            name=name,
            failure=outcome[0] if outcome else None,
            failure_after=outcome[1] if outcome else None,
        )
        for name, outcome in zip(names, outcomes, strict=True)
    }
    targets = tuple(map(Target, names))
    route = Route("auto", "order", targets)
    decision = choose(route, [Candidate(one) for one in targets], Needs.of(REQUEST), 0)
    record = RequestRecord("id", "POST", "/")
    way = Way(decision, record, Measured())
    asked: list[str] = []

    def ask(model: str) -> AsyncGenerator[ChatEvent, None]:
        asked.append(model)
        return backends[model].chat(REQUEST)

    events: list[ChatEvent] = []
    failure: LocalserveError | None = None
    try:
        async for event in along(way, ask):
            events.append(event)  # noqa: PERF401 (what came before a failure counts)
    except LocalserveError as error:
        failure = error

    ends = (
        number
        for number, outcome in enumerate(outcomes)
        if outcome is None or outcome[1] > 0 or reason_of(outcome[0]) is None
    )
    last = next(ends, len(outcomes) - 1)
    assert asked == names[: last + 1]
    outcome = outcomes[last]
    assert failure is (outcome[0] if outcome else None)
    assert sum(isinstance(event, Accepted) for event in events) <= 1
    said = "".join(event.text for event in events if isinstance(event, TextDelta))
    words = WORDS if outcome is None else outcome[1]
    assert said.split() == [names[last]] * words
    assert record.model_route is not None
    assert f"{names[last]}: order" in record.model_route
    if outcome is None:
        assert isinstance(events[-1], Completed)
        assert events[-1].route == (record.model_route if last else "")
    assert all(backend.running == 0 for backend in backends.values())
