"""Which of several servers is asked."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from localserve.backends.breaker import FAILURES
from localserve.backends.replicas import SLACK, Server, choose_server
from localserve.catalog.spec import Replica


def servers(*weights: float) -> list[Server]:
    return [Server(Replica(f"http://{n}/v1", None, weight)) for n, weight in enumerate(weights)]


def shut(server: Server) -> None:
    for _ in range(FAILURES):
        server.breaker.failed()


def test_a_conversation_stays_with_its_server() -> None:
    several = servers(1, 1, 1)
    first = [choose_server(several, str(number)) for number in range(300)]
    assert first == [choose_server(several, str(number)) for number in range(300)]
    assert min(Counter(one.replica.base_url for one in first if one).values()) > 60


def test_a_server_that_is_much_busier_gives_its_conversations_away() -> None:
    several = servers(1, 1)
    own = choose_server(several, "one")
    assert own is not None
    own.running = int(SLACK)
    assert choose_server(several, "one") is own
    own.running += 1
    assert choose_server(several, "one") is not own


def test_weights_are_shares_of_the_work() -> None:
    light, heavy = servers(1, 3)
    both = [light, heavy]
    first = Counter(choose_server(both, str(number)) is heavy for number in range(1000))
    assert 680 < first[True] < 820


def test_who_is_left_alone_or_was_tried_is_not_asked() -> None:
    several = servers(1, 1)
    shut(several[0])
    assert choose_server(several, "any") is several[1]
    assert choose_server(several, "any", {several[1]}) is None


@given(
    st.lists(st.tuples(st.floats(0.1, 10), st.integers(0, 50)), min_size=1, max_size=6), st.text()
)
def test_nobody_gets_a_request_who_has_far_more_than_the_least_busy(
    made: list[tuple[float, int]], conversation: str
) -> None:
    several = servers(*(weight for weight, _ in made))
    for server, (_, running) in zip(several, made, strict=True):
        server.running = running
    chosen = choose_server(several, conversation)
    assert chosen is not None
    assert chosen.load <= min(one.load for one in several) + SLACK
