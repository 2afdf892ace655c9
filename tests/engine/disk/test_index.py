from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.disk.index import HEAD_TOKENS, MOST_CHILDREN, RecordIndex
from localserve.engine.disk.record import Part, Record
from localserve.engine.prefixes import common_length
from localserve.engine.scripted import ByteVocabulary
from tests.engine.rig import PairVocabulary, in_pairs, token_array

ROOT = b"r" * 16


def record(parent: Record | bytes, *tokens: int, lengths: tuple[int, ...] = ()) -> Record:
    key, start = (parent, 0) if isinstance(parent, bytes) else (parent.key, parent.end)
    end = start + len(tokens)
    parts = tuple(Part(length, 10) for length in (end, *lengths))
    return Record(key, start, token_array(*tokens), parts)


def index_of(*records: Record, cuttable: bool = True) -> RecordIndex:
    index = RecordIndex(cuttable=cuttable)
    for one in records:
        index.add(one)
    return index


def test_records_one_behind_the_other_are_found_as_far_as_they_agree() -> None:
    first = record(ROOT, 1, 2, 3)
    second = record(first, 4, 5, 6)
    index = index_of(first, second)
    found = index.longest(ROOT, token_array(1, 2, 3, 4, 5, 9))
    assert found is not None
    assert (found.records, found.held, found.replaced) == ((first, second), 5, 5)
    assert found.tokens.tolist() == [1, 2, 3, 4, 5, 6]
    assert index.longest(ROOT, token_array(9, 1, 2)) is None
    assert index.longest(b"x" * 16, token_array(1, 2, 3)) is None


@given(st.sampled_from([1, HEAD_TOKENS - 1, HEAD_TOKENS, HEAD_TOKENS + 1, 3 * HEAD_TOKENS]))
def test_records_are_told_apart_wherever_they_part(at: int) -> None:
    beginning = tuple(range(3 * HEAD_TOKENS))
    others = [record(ROOT, *beginning[:length], 777) for length in range(0, at, 7)]
    wanted = record(ROOT, *beginning[:at], 888, 889)
    found = index_of(*others, wanted, record(ROOT, 5)).longest(
        ROOT, token_array(*beginning[:at], 888, 999)
    )
    assert found is not None
    assert (found.records, found.held) == ((wanted,), at + 1)


def test_what_follows_a_record_that_is_gone_is_not_found() -> None:
    first = record(ROOT, 1, 2, 3)
    second = record(first, 4, 5, 6)
    index = index_of(first, second)
    index.remove(first.key)
    index.remove(first.key)
    assert index.longest(ROOT, token_array(1, 2, 3, 4, 5, 6)) is None
    assert (len(index), index.size_bytes) == (1, second.file_bytes)


def test_a_short_record_with_more_behind_it_beats_a_longer_one() -> None:
    short, long = record(ROOT, 1, 2), record(ROOT, 1, 2, 3)
    behind = record(short, 3, 4, 5)
    found = index_of(long, short, behind).longest(ROOT, token_array(1, 2, 3, 4, 5))
    assert found is not None
    assert found.records == (short, behind)


def test_other_ids_for_the_same_text_are_found_where_that_is_allowed() -> None:
    text = b"the same text in other tokens"
    first = record(ROOT, *in_pairs(text[:10]))
    second = record(first, *in_pairs(text[10:]))
    index = index_of(first, second)
    wanted = token_array(*text)
    assert index.longest(ROOT, wanted) is None
    found = index.longest(ROOT, wanted, PairVocabulary().plain)
    assert found is not None
    assert found.records == (first, second)
    assert (found.held, found.replaced) == (15, 29)


def test_what_cannot_be_cut_serves_only_where_one_of_its_parts_ends() -> None:
    one = record(ROOT, *range(10), lengths=(4, 7))
    index = index_of(one, cuttable=False)
    for length, usable in ((3, None), (4, 4), (6, 4), (9, 7), (10, 10), (12, 10)):
        found = index.longest(ROOT, token_array(*range(length), 99))
        assert (found.held if found else None) == usable


def test_what_a_longer_conversation_goes_on_from_is_outgrown() -> None:
    old, other = record(ROOT, 1, 2), record(ROOT, 1, 3)
    new = record(ROOT, 1, 2, 3)
    assert index_of(old, other, new, cuttable=False).outgrown(new) == [old]
    assert index_of(old, other, new).outgrown(new) == []


def test_no_more_records_than_a_bound_are_looked_at_and_those_are_the_newest() -> None:
    siblings = [record(ROOT, number, 0) for number in range(2 * MOST_CHILDREN)]
    index = index_of(*siblings)
    assert index.longest(ROOT, token_array(0, 0)) is None
    assert index.longest(ROOT, token_array(2 * MOST_CHILDREN - 1, 0)) is not None


runs = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3), max_size=4)


@given(st.lists(runs, max_size=8), st.lists(st.integers(0, 1), max_size=10))
def test_the_longest_beginning_is_found(paths: list[list[list[int]]], wanted: list[int]) -> None:
    index, texts = RecordIndex(cuttable=True), []
    for path in paths:
        before: Record | bytes = ROOT
        for run in path:
            before = record(before, *run)
            index.add(before)
        texts.append([token for run in path for token in run])
    tokens = token_array(*wanted)
    expected = max((common_length(token_array(*text), tokens) for text in texts), default=0)
    for plain in (None, ByteVocabulary().plain):
        found = index.longest(ROOT, tokens, plain)
        assert (found.held if found else 0) == expected
        if found:
            assert found.tokens[: found.held].tolist() == wanted[: found.held]
    parent, whole = index.follow(ROOT, tokens)
    assert parent == (whole[-1].key if whole else ROOT)
    assert [token for one in whole for token in one.tokens] == wanted[: sum(map(_size, whole))]
    assert all(later.parent == one.key for one, later in pairwise(whole))


def _size(one: Record) -> int:
    return len(one.tokens)
