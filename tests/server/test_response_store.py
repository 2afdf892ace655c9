"""What is kept of responses, and for how long."""

from __future__ import annotations

from localserve.dialects.openai.responses import Given
from localserve.dialects.openai.responses.items import Said
from localserve.server.response_store import Bounds, ResponseStore


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def given(number: int, text: str = "") -> Given:
    said = Said(f"msg_{number}", "assistant", text)
    return Given(f"resp_{number}", "{}", (said,), (Said("", "user", "x"), said))


def store(clock: Clock | None = None, **bounds: float) -> ResponseStore:
    return ResponseStore(Bounds(**bounds), clock=clock or Clock())  # type: ignore[arg-type]


def test_a_response_and_its_items_are_found_in_their_scope_only() -> None:
    kept = store()
    kept.keep("a", given(1))
    assert kept.get("a", "resp_1") == given(1)
    assert kept.item("a", "msg_1") == given(1).output[0]
    for scope, id in (("b", "1"), ("a", "2")):
        assert kept.get(scope, f"resp_{id}") is None
        assert kept.item(scope, f"msg_{id}") is None


def test_a_deleted_response_is_gone_with_its_items() -> None:
    kept = store()
    kept.keep("a", given(1))
    assert not kept.delete("b", "resp_1")
    assert kept.delete("a", "resp_1")
    assert not kept.delete("a", "resp_1")
    assert kept.get("a", "resp_1") is None
    assert kept.item("a", "msg_1") is None


def test_the_oldest_of_a_scope_makes_room_for_its_next() -> None:
    kept = store(scope_responses=2)
    kept.keep("b", given(0))
    for number in (1, 2, 3):
        kept.keep("a", given(number))
    assert [bool(kept.get("a", f"resp_{number}")) for number in (1, 2, 3)] == [False, True, True]
    assert kept.item("a", "msg_1") is None
    assert kept.get("b", "resp_0")


def test_bytes_are_bounded_for_a_scope_and_for_all() -> None:
    kept = store(scope_bytes=20_000, all_bytes=30_000)
    for number in (1, 2, 3):
        kept.keep("a", given(number, "x" * 2_000))  # about 8,400 bytes each
    assert [bool(kept.get("a", f"resp_{number}")) for number in (1, 2, 3)] == [False, True, True]
    kept.keep("b", given(4, "x" * 2_000))
    kept.keep("b", given(5, "x" * 2_000))
    assert kept.get("a", "resp_2") is None
    assert kept.get("a", "resp_3")
    kept.keep("c", given(6, "x" * 10_000))
    assert kept.get("c", "resp_6") is None, "it is too large by itself"
    assert kept.get("b", "resp_5")


def test_what_is_old_is_forgotten() -> None:
    clock = Clock()
    kept = store(clock, seconds=60)
    kept.keep("a", given(1))
    clock.now = 30
    kept.keep("a", given(2))
    clock.now = 60
    assert kept.get("a", "resp_1") is None
    assert kept.item("a", "msg_1") is None
    assert not kept.delete("a", "resp_1")
    assert kept.get("a", "resp_2")
