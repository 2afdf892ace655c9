"""Who goes first, who yields, and that nobody waits for ever."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.chat import Priority
from localserve.engine.fairness import HEAD_START_SECONDS, rank, share_out
from localserve.engine.pacer import FIRST_CHUNK
from localserve.engine.scripted import ScriptedRunner
from localserve.engine.sequence import Ended, Sequence
from localserve.errors import Overloaded
from tests.engine.rig import Rig, request

BACKGROUND, CHAT, INTERACTIVE = Priority
PLENTY = 100_000


def rig_of(places: int, *, cells: int = PLENTY, max_waiting: int = 10_000) -> Rig:
    return Rig(
        ScriptedRunner(cells=cells, slots=places + 2), max_running=places, max_waiting=max_waiting
    )


def submit(rig: Rig, priority: Priority, at: float = 0.0, answer: int = 3) -> Sequence:
    """A short prompt that shares nothing worth it, and is answered by so many letters."""
    text = b"%d\n" % len(rig.sequences) + b"a" * answer + b"\n"
    return rig.submit(request(text, max_tokens=answer, priority=priority), at=at)


def admission_order(rig: Rig) -> list[int]:
    admitted = [one for one in rig.sequences if one.times.admitted]
    return [one.number for one in sorted(admitted, key=lambda one: one.times.admitted)]


# Order


def test_urgent_requests_go_first_and_equals_in_the_order_of_their_arrival() -> None:
    rig = rig_of(1)
    for priority in (BACKGROUND, CHAT, INTERACTIVE, BACKGROUND, CHAT, INTERACTIVE):
        submit(rig, priority)
    rig.finish()
    assert admission_order(rig) == [2, 5, 1, 4, 0, 3]


@pytest.mark.parametrize(
    ("first", "then", "head_start"),
    [(CHAT, INTERACTIVE, 10.0), (BACKGROUND, CHAT, 60.0), (BACKGROUND, INTERACTIVE, 70.0)],
)
def test_what_has_waited_longer_than_the_head_start_goes_before_what_is_more_urgent(
    first: Priority, then: Priority, head_start: float
) -> None:
    for late, order in ((head_start - 1, [1, 0]), (head_start + 1, [0, 1])):
        rig = rig_of(1)
        submit(rig, first, at=0.0)
        submit(rig, then, at=late)
        rig.finish()
        assert admission_order(rig) == order


@dataclass(frozen=True)
class Arrival:
    after_seconds: int
    priority: Priority
    answer: int


arrivals = st.lists(
    st.builds(Arrival, st.integers(0, 30), st.sampled_from(Priority), st.integers(1, 12)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(arrivals=arrivals, places=st.integers(1, 4))
def test_nobody_is_admitted_before_one_of_smaller_rank_that_waits(
    arrivals: list[Arrival], places: int
) -> None:
    """But where the last place is not for background work. A step takes a second."""
    rig, now = rig_of(places), 0.0
    for arrival in arrivals:
        for _ in range(arrival.after_seconds):
            now += 1.0
            if not rig.scheduler.idle:
                step_in_order(rig)
        submit(rig, arrival.priority, now, arrival.answer)
    while not rig.scheduler.idle:
        step_in_order(rig)
    assert all(isinstance(rig.events[one.number][-1], Ended) for one in rig.sequences)
    for one, arrival in zip(rig.sequences, arrivals, strict=True):
        assert rig.text(one) == "a" * arrival.answer
        assert one.pauses == 0 or one.request.priority is BACKGROUND


def step_in_order(rig: Rig) -> None:
    before = admission_order(rig)
    rig.step()
    for number in set(admission_order(rig)) - set(before):
        one = rig.sequences[number]
        for other in rig.scheduler.waiting:
            overtaken = rank(other) < rank(one)
            assert not overtaken or other.request.priority is BACKGROUND is not one.request.priority
    running = [one.request.priority for one in rig.scheduler.running]
    assert len(running) <= rig.scheduler._max_running
    if rig.scheduler._max_running > 1:
        assert running.count(BACKGROUND) < rig.scheduler._max_running


@pytest.mark.parametrize("flood", [CHAT, INTERACTIVE])
@pytest.mark.parametrize("places", [1, 2])
def test_background_work_is_done_although_more_urgent_requests_never_end(
    flood: Priority, places: int
) -> None:
    """Each second brings a request that takes four; what came within the head start goes before."""
    rig = rig_of(places)
    work = submit(rig, BACKGROUND, at=0.0, answer=50)
    seconds = 0
    while not (rig.events[0] and isinstance(rig.events[0][-1], Ended)):
        submit(rig, flood, at=seconds, answer=3)
        rig.step()
        seconds += 1
        assert seconds < 500
    assert rig.text(work) == "a" * 50
    assert len(rig.scheduler.waiting) > 30, "the flood never ended"
    overtaking = [one for one in rig.sequences[1:] if one.times.admitted]
    if places == 1:
        assert max(one.times.submitted for one in overtaking) <= HEAD_START_SECONDS[flood] + 1


# Who yields


def test_background_work_pauses_for_what_finds_no_place_and_goes_on_after_it() -> None:
    rig = rig_of(1)
    work = submit(rig, BACKGROUND, answer=40)
    for _ in range(10):
        rig.step()
    urgent = submit(rig, INTERACTIVE, at=5.0)
    rig.step()
    assert rig.scheduler.running == [urgent]
    assert work.pauses == 1
    computed = rig.runner.computed_tokens
    rig.finish()
    assert (rig.text(work), rig.text(urgent)) == ("a" * 40, "aaa")
    assert rig.runner.computed_tokens - computed < 40, "what was computed of it was kept"


def test_background_work_that_has_aged_pauses_for_nobody() -> None:
    rig = rig_of(1)
    work = submit(rig, BACKGROUND, answer=40)
    rig.step()
    submit(rig, INTERACTIVE, at=71.0)
    rig.finish()
    assert work.pauses == 0
    assert admission_order(rig) == [0, 1]


def test_background_work_gives_up_cells_for_what_is_more_urgent() -> None:
    rig = Rig(ScriptedRunner(cells=300), max_running=3)
    work = rig.submit(request(b"b" * 200 + b"\n" + b"a" * 20 + b"\n", priority=BACKGROUND), at=0.0)
    rig.step()
    urgent = rig.submit(request(b"c" * 150 + b"\nd\n", max_tokens=2, priority=CHAT), at=1.0)
    rig.step()
    assert rig.scheduler.running == [urgent]
    rig.finish()
    assert (rig.text(work), rig.text(urgent)) == ("a" * 20, "d")


def test_nobody_pauses_for_what_would_find_no_room_all_the_same() -> None:
    rig = Rig(ScriptedRunner(cells=300), max_running=3)
    reading = rig.submit(
        request(b"r" * 150 + b"\nx\n", max_tokens=20, ignore_end=True, priority=CHAT), at=0.0
    )
    work = rig.submit(
        request(b"b" * 50 + b"\nx\n", max_tokens=20, ignore_end=True, priority=BACKGROUND), at=0.0
    )
    rig.step()
    rig.submit(request(b"c" * 200 + b"\nd\n", max_tokens=2, priority=INTERACTIVE), at=1.0)
    rig.step()
    assert rig.scheduler.running == [reading, work]
    rig.finish()
    assert work.pauses == 0


def test_a_chat_never_pauses_for_a_completion() -> None:
    rig = rig_of(1)
    chat = submit(rig, CHAT, answer=30)
    rig.step()
    submit(rig, INTERACTIVE)
    rig.finish()
    assert chat.pauses == 0


def test_the_last_place_is_never_background_works() -> None:
    rig = rig_of(3)
    for _ in range(4):
        submit(rig, BACKGROUND, answer=9)
    rig.step()
    assert len(rig.scheduler.running) == 2
    chat = submit(rig, CHAT)
    rig.step()
    assert chat in rig.scheduler.running
    assert all(one.pauses == 0 for one in rig.sequences)
    rig.finish()
    assert all(rig.text(one) for one in rig.sequences)


def test_background_work_fills_no_more_than_half_of_the_queue() -> None:
    rig = rig_of(1, max_waiting=4)
    submit(rig, CHAT)
    rig.step()
    submit(rig, BACKGROUND)
    submit(rig, BACKGROUND)
    with pytest.raises(Overloaded, match="lets 2 wait"):
        submit(rig, BACKGROUND)
    submit(rig, CHAT)
    submit(rig, CHAT)
    with pytest.raises(Overloaded, match="lets 4 wait"):
        submit(rig, CHAT)


# The share of a step


def behind(number: int, pending: int, priority: Priority, at: float = 0.0) -> Sequence:
    sequence = Sequence(number, request(b"x" * pending, priority=priority), PLENTY)
    sequence.times.submitted = at
    return sequence


def test_a_step_is_shared_by_urgency() -> None:
    work, chat = behind(0, 900, BACKGROUND), behind(1, 900, CHAT)
    completion = behind(2, 60, INTERACTIVE)
    assert share_out([work, chat, completion], 100) == [(chat, 40), (completion, 60)]


def test_the_first_in_rank_gets_half_whatever_its_urgency() -> None:
    work, chat = behind(0, 900, BACKGROUND), behind(1, 900, CHAT, at=61.0)
    assert share_out([work, chat], 100) == [(work, 50), (chat, 50)]


@given(
    everyone=st.lists(
        st.tuples(st.integers(1, 300), st.sampled_from(Priority), st.integers(0, 100)),
        min_size=1,
        max_size=12,
    ),
    budget=st.integers(1, 500),
)
def test_no_share_is_lost_and_the_first_in_rank_always_gets_on(
    everyone: list[tuple[int, Priority, int]], budget: int
) -> None:
    sequences = [behind(number, *one) for number, one in enumerate(everyone)]
    shares = dict(share_out(sequences, budget))
    first = min(sequences, key=rank)
    assert shares[first] >= min(first.pending, (budget + 1) // 2)
    assert sum(shares.values()) == min(budget, sum(one.pending for one in sequences))
    assert all(0 < share <= one.pending for one, share in shares.items())


def test_steps_of_background_work_alone_are_as_short_as_beside_a_stream() -> None:
    taken = []
    for priority in (CHAT, BACKGROUND):
        rig = rig_of(2)
        prompt = rig.submit(request(b"w" * 1_000 + b"\na\n", priority=priority))
        rig.step()
        taken.append(rig.step_of(prompt))
        rig.finish()
    assert taken == [rig.runner.batch_tokens, FIRST_CHUNK]


# The time of a step


@settings(max_examples=40, deadline=None)
@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 12), st.integers(4, 900), st.integers(1, 60)),
        min_size=2,
        max_size=12,
    ),
    start_seconds=st.floats(0.0, 0.1),
    tokens_per_second=st.floats(100.0, 5_000.0),
)
def test_steps_beside_answers_stay_within_twice_their_budget_under_any_mix(
    arrivals: list[tuple[int, int, int]], start_seconds: float, tokens_per_second: float
) -> None:
    """On a machine that computes so many tokens a second, and needs some time to start a step."""
    rig = Rig(ScriptedRunner(cells=PLENTY, slots=10, batch_tokens=512), max_running=8)
    pacer = rig.scheduler._pacer

    def step() -> None:
        if rig.scheduler.idle:
            return
        rig.step()
        taken = rig.step_taken
        tokens = sum(len(part.tokens) for part in taken.slices)
        seconds = start_seconds + tokens / tokens_per_second
        pacer.observe(taken.answering, taken.prompt_tokens, seconds)
        if taken.answering:
            assert seconds <= 2 * pacer.budget_seconds

    for number, (steps, prompt, answer) in enumerate(arrivals):
        for _ in range(steps):
            step()
        text = bytes([ord("b") + number]) * prompt + b"\n" + b"a" * answer + b"\n"
        rig.submit(request(text, max_tokens=answer))
    while not rig.scheduler.idle:
        step()
