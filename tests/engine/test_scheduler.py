from __future__ import annotations

import pytest

from localserve.chat import Priority
from localserve.config import MOST_CHECKPOINTS
from localserve.engine.fairness import share_out
from localserve.engine.runner import NoCells, Slice
from localserve.engine.scripted import ScriptedRunner
from localserve.engine.sequence import RESERVED_TOKENS, Admitted, Broken, Ended, Sequence
from localserve.errors import ContextOverflow, EngineFailed, InvalidRequest, Overloaded
from tests.engine.rig import PairVocabulary, Rig, in_pairs, request

CHAT, INTERACTIVE = Priority.CHAT, Priority.INTERACTIVE


def words(count: int, letter: str = "w") -> bytes:
    """A prompt of `count` tokens that is answered by one letter."""
    return letter.encode() * (count - 3) + b"\n" + b"a\n"


def running(rig: Rig) -> list[int]:
    return [sequence.number for sequence in rig.scheduler.running]


def waiting(rig: Rig) -> list[int]:
    return [sequence.number for sequence in rig.scheduler.waiting]


# Answers


def test_an_answer_comes_as_admitted_text_and_ended() -> None:
    rig = Rig()
    sequence = rig.submit(request(b"\nhello\n"))
    rig.finish()
    first, *_, last = rig.events[0]
    assert first == Admitted(7)
    assert isinstance(last, Ended)
    assert (rig.text(sequence), last.reason, last.completion_tokens) == ("hello", "stop", 6)


def test_a_limit_ends_with_length() -> None:
    rig = Rig()
    sequence = rig.submit(request(b"\nhello\n", max_tokens=3))
    rig.finish()
    ended = rig.ended(sequence)
    assert (rig.text(sequence), ended.reason, ended.completion_tokens) == ("hel", "length", 3)


def test_a_stop_string_ends_with_stop_and_is_not_given_out() -> None:
    rig = Rig()
    sequence = rig.submit(request(b"\nhello\n", stop=("lo",)))
    rig.finish()
    ended = rig.ended(sequence)
    assert (rig.text(sequence), ended.reason, ended.stopped_by) == ("hel", "stop", "lo")


def test_a_limit_of_0_computes_the_prompt_and_gives_no_text() -> None:
    rig = Rig()
    sequence = rig.submit(request(b"\nhello\n", max_tokens=0))
    rig.finish()
    ended = rig.ended(sequence)
    assert (rig.text(sequence), ended.reason, ended.completion_tokens) == ("", "length", 0)
    assert rig.runner.computed_tokens == 7


def test_a_limit_larger_than_the_room_ends_with_length_at_the_last_cell() -> None:
    rig = Rig(ScriptedRunner(cells=20))
    sequence = rig.submit(request(b"\nhello\n", max_tokens=1000, ignore_end=True))
    rig.finish()
    ended = rig.ended(sequence)
    assert (ended.reason, ended.completion_tokens) == ("length", 20 - 7 + 1)
    assert rig.scheduler.cells_used == 20


def test_a_prompt_that_fills_the_pool_exactly_gets_one_token() -> None:
    rig = Rig(ScriptedRunner(cells=16))
    sequence = rig.submit(request(words(16)))
    rig.finish()
    ended = rig.ended(sequence)
    assert (rig.text(sequence), ended.reason, ended.completion_tokens) == ("a", "length", 1)


def test_a_prompt_larger_than_the_pool_is_refused() -> None:
    rig = Rig(ScriptedRunner(cells=16))
    with pytest.raises(ContextOverflow):
        rig.submit(request(words(17)))


def test_ignoring_the_end_goes_on_to_the_limit() -> None:
    rig = Rig()
    sequence = rig.submit(request(b"\nab\n", max_tokens=5, ignore_end=True))
    rig.finish()
    assert rig.text(sequence) == "abxxx"


def test_log_probabilities_come_with_their_text() -> None:
    rig = Rig()
    rig.submit(request(b"\nab\n", top_logprobs=2))
    rig.finish()
    scored = [one for event in rig.events[0] for one in getattr(event, "scored", ())]
    assert [(one.score.token, len(one.top)) for one in scored] == [(ord("a"), 2), (ord("b"), 2)]


# Admission


def test_admission_asks_for_room_for_prompt_and_a_good_part_of_the_answer() -> None:
    rig = Rig(ScriptedRunner(cells=2 * (100 + RESERVED_TOKENS)))
    rig.submit(request(words(100, "v")))
    rig.submit(request(words(101, "w")))
    rig.submit(request(words(100, "x")))
    rig.step()
    assert (running(rig), waiting(rig)) == ([0], [1, 2])


def test_admission_of_a_short_answer_asks_for_no_more_than_its_limit() -> None:
    rig = Rig(ScriptedRunner(cells=220))
    rig.submit(request(words(100, "v"), max_tokens=10))
    rig.submit(request(words(100, "w"), max_tokens=10))
    rig.step()
    assert running(rig) == [0, 1]


def test_sequences_are_admitted_in_order_within_a_priority() -> None:
    rig = Rig(max_running=1)
    for letter, priority in (("a", CHAT), ("b", CHAT), ("c", INTERACTIVE), ("d", CHAT)):
        rig.submit(request(words(5, letter), priority=priority))
    rig.finish()
    admitted = sorted(rig.sequences, key=lambda one: one.times.admitted)
    assert [one.number for one in admitted] == [2, 0, 1, 3]


def test_a_large_request_at_the_front_is_not_overtaken_by_small_ones() -> None:
    rig = Rig(ScriptedRunner(cells=300))
    rig.submit(request(words(100, "v"), max_tokens=100))
    rig.submit(request(words(200, "w"), max_tokens=50))
    rig.submit(request(words(5, "x"), max_tokens=1))
    rig.step()
    assert waiting(rig) == [1, 2]


def test_a_full_queue_refuses_the_next() -> None:
    rig = Rig(max_running=1, max_waiting=2)
    rig.submit(request(words(5, "a")))
    rig.step()
    rig.submit(request(words(5, "b")))
    rig.submit(request(words(5, "c")))
    with pytest.raises(Overloaded) as refusal:
        rig.submit(request(words(5, "d")))
    assert refusal.value.retry_after_seconds > 0


def test_more_background_work_than_could_ever_wait_is_not_asked_to_try_again() -> None:
    rig = Rig(max_running=2, max_waiting=4)
    for priority, most in ((Priority.BACKGROUND, 4), (Priority.CHAT, 6)):
        asked = [request(words(3, "a"), priority=priority) for _ in range(most + 1)]
        numbers = range(100, 100 + len(asked))
        with pytest.raises(InvalidRequest, match=f"takes {most} at once"):
            rig.scheduler.submit(
                *(Sequence(n, one, 100) for n, one in zip(numbers, asked, strict=True))
            )


def test_more_may_run_than_there_are_slots_without_harm() -> None:
    rig = Rig(ScriptedRunner(slots=2, cells=5_000), max_running=4)
    sequences = [rig.submit(request(words(5, letter))) for letter in "abcde"]
    rig.finish()
    assert [rig.text(one) for one in sequences] == ["a"] * 5


def test_the_only_prefix_that_could_be_dropped_may_be_the_one_in_use() -> None:
    rig = Rig(ScriptedRunner(slots=1, cells=1000), max_running=1)
    rig.submit(request(words(200)))
    rig.finish()
    short = rig.submit(request(b"w" * 50 + b"\nb\n"))
    rig.finish()
    assert rig.text(short) == "b"
    assert rig.ended(short).cached_tokens == 50


# Cells run short


def grow_together(cells: int, *priorities: Priority) -> Rig:
    """Answers that are admitted together and then outgrow the pool."""
    rig = Rig(ScriptedRunner(cells=cells))
    for number, priority in enumerate(priorities):
        answer = bytes([ord("a") + number]) * 700
        prompt = b"\n" + answer + b"\n"
        rig.submit(request(prompt, priority=priority))
    return rig


def test_the_youngest_pauses_when_cells_run_short_and_all_answers_are_whole() -> None:
    rig = grow_together(2_500, CHAT, CHAT)
    rig.finish()
    assert [one.pauses > 0 for one in rig.sequences] == [False, True]
    assert [rig.text(one) for one in rig.sequences] == ["a" * 700, "b" * 700]


def test_the_lowest_priority_pauses_even_where_it_is_older() -> None:
    rig = grow_together(2_500, CHAT, INTERACTIVE)
    rig.finish()
    assert [one.pauses > 0 for one in rig.sequences] == [True, False]
    assert [rig.text(one) for one in rig.sequences] == ["a" * 700, "b" * 700]


def test_a_paused_sequence_is_admitted_once_for_its_reader() -> None:
    rig = grow_together(2_500, CHAT, CHAT)
    rig.finish()
    assert sum(isinstance(event, Admitted) for event in rig.events[1]) == 1


def test_kept_prefixes_go_before_anyone_pauses() -> None:
    rig = Rig(ScriptedRunner(cells=300))
    rig.submit(request(words(200, "k")))
    rig.finish()
    assert rig.scheduler.cells_used == 201
    later = rig.submit(request(b"\n" + b"b" * 100 + b"\n"))
    rig.finish()
    assert (later.pauses, rig.text(later)) == (0, "b" * 100)


def test_no_cells_drops_prefixes_then_pauses_then_lets_one_go_on_alone() -> None:
    def refuse_two(batch: object) -> None:
        if len(rig.scheduler.running) > 1:
            raise NoCells

    rig = Rig(ScriptedRunner(cells=5_000, on_run=refuse_two))
    sequences = [rig.submit(request(b"\n" + letter * 9 + b"\n")) for letter in (b"a", b"b", b"c")]
    rig.finish(200)
    assert [rig.text(one) for one in sequences] == ["a" * 9, "b" * 9, "c" * 9]


def test_no_cells_for_a_single_sequence_breaks_it_and_only_it() -> None:
    def refuse(batch: object) -> None:
        raise NoCells

    rig = Rig(ScriptedRunner(on_run=refuse))
    rig.submit(request(words(5)))
    rig.finish(10)
    (broken,) = [event for event in rig.events[0] if isinstance(event, Broken)]
    assert isinstance(broken.error, EngineFailed)


def test_a_failed_step_breaks_its_sequences_and_frees_their_cells() -> None:
    rig = Rig()
    first = rig.submit(request(words(100, "a")))
    rig.step()
    error = EngineFailed("broken")
    step, _ = rig.scheduler.schedule()
    assert rig.scheduler.fail(step, error) == [(first, Broken(error))]
    assert rig.scheduler.idle
    assert rig.scheduler.cells_used == 0
    rig.check()
    assert rig.runner.samplers[0].closed


# Prefixes


def test_a_conversation_that_goes_on_reuses_its_own_prefix() -> None:
    rig = Rig()
    first = rig.submit(request(words(50)))
    rig.finish()
    second = rig.submit(request(bytes(first.tokens[:-1]) + b"more\nb\n"))
    rig.finish()
    assert rig.ended(second).cached_tokens == 51
    assert rig.text(second) == "b"


def test_the_same_prompt_again_computes_its_last_token_only() -> None:
    rig = Rig()
    rig.submit(request(words(50)))
    rig.finish()
    computed = rig.runner.computed_tokens
    again = rig.submit(request(words(50)))
    rig.finish()
    assert rig.ended(again).cached_tokens == 49
    assert rig.runner.computed_tokens - computed == 2
    assert rig.text(again) == "a"


def test_a_prefix_is_not_reused_in_another_scope() -> None:
    rig = Rig()
    rig.submit(request(words(50), scope="theirs"))
    rig.finish()
    ours = rig.submit(request(words(50), scope="ours"))
    rig.finish()
    assert rig.ended(ours).cached_tokens == 0


def test_a_memory_that_cannot_be_cut_computes_anew_with_the_same_answer() -> None:
    rig = Rig(ScriptedRunner(cuts_anywhere=False))
    rig.submit(request(words(50)))
    rig.finish()
    again = rig.submit(request(words(50)))
    rig.finish()
    assert rig.ended(again).cached_tokens == 0
    assert rig.text(again) == "a"


def shared_beginning(rig: Rig) -> tuple[Sequence, Sequence]:
    """A long prompt, and one that shares its first 600 tokens."""
    leader = rig.submit(request(b"w" * 600 + b"\na\n"))
    follower = rig.submit(request(b"w" * 600 + b"\nb\n"))
    return leader, follower


def test_a_follower_waits_for_the_prefix_and_then_shares_it() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    leader, follower = shared_beginning(rig)
    rig.step()
    assert (running(rig), waiting(rig)) == ([leader.number], [follower.number])
    rig.finish()
    assert rig.ended(follower).cached_tokens == 601
    assert rig.runner.computed_tokens < 650
    assert (rig.text(leader), rig.text(follower)) == ("a", "b")


def test_a_follower_goes_on_when_its_leader_is_cancelled() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    leader, follower = shared_beginning(rig)
    rig.step()
    rig.scheduler.cancel(leader)
    rig.finish()
    assert rig.ended(follower).cached_tokens == 256
    assert rig.text(follower) == "b"


def test_a_follower_goes_on_when_its_leader_fails() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    _, follower = shared_beginning(rig)
    rig.step()
    step, _ = rig.scheduler.schedule()
    rig.scheduler.fail(step, EngineFailed("broken"))
    rig.finish()
    assert rig.ended(follower).cached_tokens == 0
    assert rig.text(follower) == "b"


def test_a_follower_goes_on_when_its_leader_pauses() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    leader, follower = shared_beginning(rig)
    rig.step()
    rig.scheduler._pause(leader)
    rig.finish()
    assert (rig.text(leader), rig.text(follower)) == ("a", "b")


def test_others_overtake_a_follower_that_waits_for_its_leader() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    _, follower = shared_beginning(rig)
    other = rig.submit(request(words(5, "x")))
    rig.step()
    assert other.number in running(rig)
    assert follower.number in waiting(rig)


def test_many_requests_with_one_beginning_compute_it_once_and_hold_it_once() -> None:
    rig = Rig(ScriptedRunner(cells=2_400, slots=16), max_running=8)
    sequences = [
        rig.submit(
            request(b"s" * 600 + bytes([letter]) * 9 + b"\n" + b"a" * 100 + b"\n", max_tokens=101)
        )
        for letter in b"abcdefgh"
    ]
    most = 0
    while not rig.scheduler.idle:
        rig.step()
        most = max(most, len(rig.scheduler.running))
    assert most == 8
    assert [rig.text(one) for one in sequences] == ["a" * 100] * 8
    assert all(one.pauses == 0 for one in sequences)
    assert [rig.ended(one).cached_tokens for one in sequences] == [0, *[600] * 7]
    assert rig.runner.computed_tokens == 600 + 8 * (111 + 100)


def test_a_leader_stops_where_its_followers_go_on_and_all_are_computed_together() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    leader = rig.submit(request(b"w" * 200 + b"l" * 200 + b"\na\n"))
    follower = rig.submit(request(b"w" * 200 + b"f" * 20 + b"\nb\n"))
    rig.step()
    assert (leader.computed, rig.step_of(follower)) == (200, 0)
    rig.step()
    assert rig.step_of(follower) > 0
    assert rig.step_of(leader) > 0


def test_a_follower_does_not_wait_for_a_leader_of_lower_priority() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    rig.submit(request(b"w" * 600 + b"\na\n"))
    rig.step()
    urgent = rig.submit(request(b"w" * 600 + b"\nb\n", priority=INTERACTIVE))
    rig.step()
    assert urgent.number in running(rig)


def test_ending_one_of_those_who_share_leaves_the_others_their_cells() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    leader, follower = shared_beginning(rig)
    while follower.number not in running(rig):
        rig.step()
    rig.scheduler.cancel(leader)
    rig.scheduler.cache._drop(next(iter(rig.scheduler.cache.kept)))
    rig.check()
    rig.finish()
    assert rig.text(follower) == "b"


def test_a_beginning_is_taken_from_a_running_sequence() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    rig.submit(request(b"w" * 300 + b"\n" + b"a" * 200 + b"\n"))
    while not rig.events[0][1:]:
        rig.step()
    later = rig.submit(request(b"w" * 300 + b"\nb\n"))
    rig.finish()
    assert rig.ended(later).cached_tokens == 301


def test_a_part_of_a_kept_prefix_is_shared_and_the_whole_of_it_stays() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    first = rig.submit(request(b"w" * 300 + b"x" * 300 + b"\na\n"))
    rig.finish()
    second = rig.submit(request(b"w" * 300 + b"y" * 300 + b"\nb\n"))
    rig.finish()
    assert rig.ended(second).cached_tokens == 300
    again = rig.submit(request(bytes(first.tokens[:-1]) + b"\nc\n"))
    rig.finish()
    assert rig.ended(again).cached_tokens == 604
    assert [rig.text(one) for one in (second, again)] == ["b", "c"]


def test_a_prefix_that_a_longer_one_begins_with_is_not_kept_twice() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    for _ in range(3):
        rig.submit(request(words(300), max_tokens=0))
        rig.finish()
    assert len(rig.scheduler.cache.kept) == 1


def test_a_short_side_request_never_drops_a_long_conversation() -> None:
    rig = Rig(ScriptedRunner(cells=1_300, slots=3), max_running=2)
    talk = rig.submit(request(words(1_000), max_tokens=1))
    rig.finish()
    for letter in "tuvxyz":
        rig.submit(request(words(60, letter)))
        rig.submit(request(words(40, letter.upper())))
        rig.finish()
    more = rig.submit(request(bytes(talk.tokens) + b"more\nb\n", max_tokens=1))
    rig.finish()
    assert rig.ended(more).cached_tokens == 1_000


def test_a_long_prefix_gives_up_its_end_where_that_is_enough() -> None:
    rig = Rig(ScriptedRunner(cells=1_000))
    talk = rig.submit(request(words(900), max_tokens=1))
    rig.finish()
    rig.submit(request(words(300, "x"), max_tokens=1))
    rig.finish()
    again = rig.submit(request(bytes(talk.prompt.tolist()), max_tokens=1))
    rig.finish()
    assert rig.ended(again).cached_tokens >= 600


def test_a_paused_sequence_goes_on_from_what_is_left_of_it() -> None:
    rig = Rig(ScriptedRunner(cells=4_000))
    sequence = rig.submit(request(words(500)))
    rig.step()
    computed = sequence.computed
    rig.scheduler._pause(sequence)
    rig.check()
    rig.finish()
    assert rig.text(sequence) == "a"
    assert computed > 0
    assert rig.runner.computed_tokens == 501


def test_sharing_never_charges_more_cells_than_there_are() -> None:
    rig = Rig(ScriptedRunner(cells=1_300))
    sequences = [
        rig.submit(request(b"w" * 600 + b"\n" + letter + b"\n", max_tokens=1))
        for letter in (b"a", b"b", b"c")
    ]
    rig.finish()
    assert [rig.text(one) for one in sequences] == ["a", "b", "c"]


# The ids of an answer


def test_an_answer_that_comes_back_in_other_tokens_is_reused_by_its_own() -> None:
    rig = Rig(ScriptedRunner(vocabulary=PairVocabulary()))
    first = rig.submit(request(b"\n" + b"ab" * 40 + b"\n"))
    rig.finish()
    text = b"\n" + b"ab" * 40 + b"\n" + b"ab" * 40 + b"\nc\n"
    second = rig.submit(request(in_pairs(text), from_text=True))
    rig.finish()
    assert rig.text(second) == "c"
    assert second.tokens[: len(first.tokens) - 1] == first.tokens[:-1]
    ended = rig.ended(second)
    assert ended.cached_tokens == 81  # of the pairs that were asked
    assert rig.events[second.number][0] == Admitted(len(in_pairs(text)))


def test_a_prompt_of_ids_is_computed_as_it_is() -> None:
    rig = Rig(ScriptedRunner(vocabulary=PairVocabulary()))
    rig.submit(request(b"\n" + b"ab" * 40 + b"\n"))
    rig.finish()
    ids = in_pairs(b"\n" + b"ab" * 40 + b"\nc\n")
    second = rig.submit(request(ids))
    rig.finish()
    assert second.tokens[: len(ids)] == ids
    assert rig.ended(second).cached_tokens == 0


def test_ids_that_would_leave_too_little_room_for_the_answer_are_not_taken() -> None:
    rig = Rig(ScriptedRunner(cells=100, vocabulary=PairVocabulary()))
    rig.submit(request(b"x" * 80 + b"\n\n", max_tokens=0))
    rig.finish()
    ids = in_pairs(b"x" * 80 + b"\n\n" + b"b" * 28 + b"\n")
    second = rig.submit(request(ids, max_tokens=30, from_text=True))
    rig.finish()
    assert second.tokens[: len(ids)] == ids
    assert rig.text(second) == "b" * 28


# Checkpoints


def uncut(checkpoint_bytes: int = 100_000) -> Rig:
    return Rig(ScriptedRunner(cells=4_000, cuts_anywhere=False, checkpoint_bytes=checkpoint_bytes))


def test_a_memory_that_cannot_be_cut_goes_on_from_a_checkpoint() -> None:
    rig = uncut()
    rig.submit(request(b"s" * 300 + b"u" * 99 + b"\na\n", checkpoints=(300, 399)))
    rig.finish()
    for question, cached in ((b"u" * 99 + b"\nb\n", 399), (b"v" * 99 + b"\nb\n", 300)):
        sequence = rig.submit(request(b"s" * 300 + question))
        rig.finish()
        assert rig.ended(sequence).cached_tokens == cached
        assert rig.text(sequence) == "b"


def test_a_conversation_that_cannot_be_cut_goes_on_from_its_end() -> None:
    rig = uncut(0)
    first = rig.submit(request(words(300)))
    rig.finish()
    second = rig.submit(request(bytes(first.tokens[:-1]) + b"\nb\n"))
    rig.finish()
    assert rig.ended(second).cached_tokens == 301


def test_followers_share_what_cannot_be_cut_where_their_leader_stops() -> None:
    rig = uncut()
    sequences = [
        rig.submit(request(b"s" * 300 + bytes([letter]) * 50 + b"\na\n")) for letter in b"efg"
    ]
    rig.finish()
    assert [rig.ended(one).cached_tokens for one in sequences] == [0, 300, 300]


def test_a_follower_that_finds_no_place_in_time_goes_on_from_a_checkpoint() -> None:
    rig = uncut()
    leader, follower = shared_beginning(rig)
    blocking = [rig.submit(request(b"\n" + b"b" * 300 + b"\n")) for _ in range(3)]
    while leader not in rig.sequences or not rig.events[leader.number][1:]:
        rig.step()
    rig.finish()
    assert rig.ended(follower).cached_tokens == 601
    assert [rig.text(one) for one in blocking] == ["b" * 300] * 3


def test_checkpoints_are_bounded_in_bytes_and_the_oldest_go() -> None:
    rig = uncut(2_500)
    for letter in "abc":
        rig.submit(request(words(300, letter), checkpoints=(200,)))
        rig.finish()
    assert rig.scheduler.cache.checkpoints.size_bytes == 2_000
    cached = []
    for letter in "cba":
        again = rig.submit(request(letter.encode() * 200 + b"x\na\n"))
        rig.finish()
        cached.append(rig.ended(again).cached_tokens)
    assert cached == [200, 200, 0]


def test_checkpoints_are_bounded_in_number() -> None:
    rig = Rig(
        ScriptedRunner(cells=100_000, slots=40, cuts_anywhere=False, checkpoint_bytes=1_000_000)
    )
    for number in range(MOST_CHECKPOINTS + 3):
        rig.submit(request(words(300, chr(ord("A") + number)), checkpoints=(200,)))
        rig.finish()
    assert rig.scheduler.cache.checkpoints.size_bytes == 1_000 * MOST_CHECKPOINTS


def test_a_checkpoint_larger_than_the_bound_is_not_kept() -> None:
    rig = uncut(999)
    rig.submit(request(words(300), checkpoints=(200,)))
    rig.finish()
    assert rig.scheduler.cache.checkpoints.size_bytes == 0


# Cancelling


def test_cancelling_a_waiting_sequence_closes_its_sampler() -> None:
    rig = Rig(max_running=1)
    rig.submit(request(words(5)))
    second = rig.submit(request(words(5, "x")))
    rig.scheduler.cancel(second)
    assert rig.runner.samplers[1].closed
    rig.finish()
    assert rig.events[1] == []


def test_cancelling_a_sequence_that_has_ended_changes_nothing() -> None:
    rig = Rig()
    sequence = rig.submit(request(words(5)))
    rig.finish()
    cells = rig.scheduler.cells_used
    rig.scheduler.cancel(sequence)
    rig.check()
    assert rig.scheduler.cells_used == cells


# Chunks


def behind(number: int, pending: int, priority: Priority = CHAT) -> Sequence:
    return Sequence(number, request(b"x" * pending, priority=priority), 10_000)


def test_the_oldest_gets_half_of_the_budget_and_the_shortest_the_rest() -> None:
    oldest, middle, short = behind(1, 1000), behind(2, 500), behind(3, 10)
    assert share_out([short, oldest, middle], 100) == [(short, 10), (oldest, 50), (middle, 40)]


@pytest.mark.parametrize("budget", [1, 2, 7, 100, 2000])
def test_the_oldest_always_advances_and_the_budget_is_kept(budget: int) -> None:
    everyone = [behind(number, 10 + 90 * number) for number in range(8)]
    oldest = everyone[0]
    shares = dict(share_out(everyone, budget))
    assert shares[oldest] >= min(oldest.pending, budget // 2, 1)
    assert 0 < sum(shares.values()) <= budget
    assert all(share <= one.pending for one, share in shares.items())


def test_a_long_prompt_does_not_hold_up_running_answers() -> None:
    rig = Rig(ScriptedRunner(cells=5_000))
    answer = rig.submit(request(b"\n" + b"a" * 300 + b"\n"))
    while not rig.events[0][1:]:
        rig.step()
    long = rig.submit(request(words(2_000)))
    rig.step()
    assert rig.step_of(answer) == 1
    assert 0 < rig.step_of(long) < rig.runner.batch_tokens
    rig.finish()
    assert rig.text(long) == "a"


def test_a_step_never_computes_more_than_a_batch() -> None:
    sizes: list[int] = []

    def note(batch: list[Slice]) -> None:
        sizes.append(sum(len(part.tokens) for part in batch))

    rig = Rig(ScriptedRunner(cells=5_000, batch_tokens=64, on_run=note))  # type: ignore[arg-type]
    for letter in "abcd":
        rig.submit(request(words(500, letter)))
    rig.finish()
    assert max(sizes) == 64
