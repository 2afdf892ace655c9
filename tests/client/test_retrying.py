"""When a request is tried again."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.client import (
    ConnectionFailed,
    NotFound,
    RateLimited,
    RequestFailed,
    Retrying,
    TimedOut,
    Unavailable,
)
from localserve.client.calls import Asking
from localserve.client.exchange import Came, Exchange, Send, Target, Wait, exchange
from localserve.client.retrying import parse_retry_after

ASKING = Asking("POST", "/v1/embeddings", {"input": "a"})
BUSY = Came(503, {}, b'{"error": {"message": "full", "code": "overloaded"}}')
DONE = Came(200, {}, b"{}")


def begin(retrying: Retrying | None = None) -> Exchange:
    target = Target("http://here", None, 1, None, retrying or Retrying())
    return exchange(target, ASKING)


def limited(retry_after: str) -> Came:
    return Came(429, {"retry-after": retry_after}, b"{}")


@given(failures=st.integers(1, 1000))
def test_waits_double_up_to_the_most_and_have_jitter(failures: int) -> None:
    retrying = Retrying(attempts=1001)
    wait = retrying.delay_seconds(failures, None)
    whole = min(0.5 * 2.0 ** (failures - 1), 8.0)
    assert wait is not None
    assert whole / 2 <= wait <= whole


def test_clients_that_failed_together_do_not_come_back_together() -> None:
    assert len({Retrying().delay_seconds(1, None) for _ in range(20)}) > 10


@given(seconds=st.floats(0, 60))
def test_a_server_that_says_when_is_obeyed(seconds: float) -> None:
    wait = Retrying().delay_seconds(1, seconds)
    assert wait is not None
    assert seconds <= wait <= seconds + 0.5


def test_a_wait_beyond_all_patience_is_not_made() -> None:
    assert Retrying().delay_seconds(1, 61) is None
    assert Retrying(patience_seconds=90).delay_seconds(1, 61) is not None


def test_the_first_attempt_counts() -> None:
    with pytest.raises(ValueError, match="attempts is 0"):
        Retrying(attempts=0)
    assert Retrying(attempts=1).delay_seconds(1, None) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-3", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_has_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after(text, now) == seconds


def test_a_busy_server_is_asked_again_under_the_same_id() -> None:
    steps = begin()
    first = next(steps)
    assert isinstance(first, Send)
    assert isinstance(steps.send(BUSY), Wait)
    second = next(steps)
    assert isinstance(second, Send)
    assert second.request.headers["x-request-id"] == first.request.headers["x-request-id"]
    with pytest.raises(StopIteration) as ended:
        steps.send(DONE)
    assert ended.value.value == DONE


def test_retry_after_is_waited_for() -> None:
    steps = begin()
    next(steps)
    wait = steps.send(limited("7"))
    assert isinstance(wait, Wait)
    assert wait.seconds >= 7


def test_after_the_last_attempt_the_answer_stands() -> None:
    steps = begin(Retrying(attempts=3))
    next(steps)
    for _ in range(2):
        assert isinstance(steps.send(BUSY), Wait)
        next(steps)
    with pytest.raises(Unavailable, match="full") as caught:
        steps.send(BUSY)
    assert (caught.value.code, caught.value.status) == ("overloaded", 503)


def test_a_server_that_asks_for_too_much_patience_is_believed() -> None:
    steps = begin()
    next(steps)
    with pytest.raises(RateLimited) as caught:
        steps.send(limited("3600"))
    assert caught.value.retry_after_seconds == 3600


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500, 501])
def test_what_will_not_change_is_not_tried_again(status: int) -> None:
    steps = begin()
    next(steps)
    with pytest.raises(RequestFailed) as caught:
        steps.send(Came(status, {"x-request-id": "r1"}, b"{}"))
    assert (caught.value.status, caught.value.request_id) == (status, "r1")
    assert isinstance(caught.value, NotFound) == (status == 404)


@pytest.mark.parametrize("cut", [httpx2.ConnectError("x"), httpx2.RemoteProtocolError("x")])
def test_a_cut_connection_is_tried_again(cut: Exception) -> None:
    steps = begin(Retrying(attempts=2))
    next(steps)
    assert isinstance(steps.throw(cut), Wait)
    next(steps)
    with pytest.raises(ConnectionFailed, match="localserve up"):
        steps.throw(cut)


def test_what_timed_out_may_be_computed_still_and_is_not_tried_again() -> None:
    steps = begin()
    next(steps)
    with pytest.raises(TimedOut, match="answer_timeout_seconds"):
        steps.throw(httpx2.ReadTimeout("x"))


def test_who_finds_no_connection_in_time_has_asked_nothing_yet() -> None:
    steps = begin()
    next(steps)
    assert isinstance(steps.throw(httpx2.ConnectTimeout("x")), Wait)
