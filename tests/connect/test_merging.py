"""Entries go into a document and come out of it again."""

from __future__ import annotations

from hypothesis import given

from localserve.connect.merging import ABSENT, Default, merge, project, revert, same, settle
from tests.connect.generated import DOCUMENTS


def test_entries_go_beside_what_is_there() -> None:
    document = {"theme": "dark", "provider": {"other": {"url": "x"}}}
    entries = {"provider": {"localserve": {"url": "y"}}}
    assert merge(document, entries) == {
        "theme": "dark",
        "provider": {"other": {"url": "x"}, "localserve": {"url": "y"}},
    }


def test_lists_of_named_things_are_merged_by_name() -> None:
    document = {"models": [{"name": "theirs"}, {"name": "ours", "a": 1, "note": "kept"}]}
    entries = {"models": [{"name": "ours", "a": 2}, {"name": "new"}]}
    assert merge(document, entries) == {
        "models": [{"name": "theirs"}, {"name": "ours", "a": 2, "note": "kept"}, {"name": "new"}]
    }


def test_other_lists_are_one_value() -> None:
    assert merge({"roles": ["chat", "edit"]}, {"roles": ["embed"]}) == {"roles": ["embed"]}


def test_a_default_counts_only_where_nothing_is_said() -> None:
    patch = {"name": Default("localserve"), "model": "m"}
    assert settle(patch, ABSENT) == {"name": "localserve", "model": "m"}
    assert settle(patch, {"name": "mine"}) == {"model": "m"}
    assert settle(patch, {"name": None}) == {"model": "m"}


def test_reverting_keeps_what_was_changed_since() -> None:
    document = {"model": "theirs", "theme": "dark"}
    entries = {"model": "ours", "provider": {"localserve": {"url": "y", "timeout": 1}}}
    written = merge(document, entries)
    assert isinstance(written, dict)
    written["theme"] = "light"
    written["provider"] = {
        "localserve": {"url": "y", "timeout": 9},
        "another": {"url": "z"},
    }
    assert revert(written, entries, project(document, entries)) == {
        "model": "theirs",
        "theme": "light",
        "provider": {"localserve": {"timeout": 9}, "another": {"url": "z"}},
    }


def test_what_was_removed_since_does_not_come_back() -> None:
    entries = {"model": "ours"}
    assert revert({"theme": "dark"}, entries, {"model": "theirs"}) == {"theme": "dark"}


def test_nothing_is_left_of_a_document_that_had_nothing_else() -> None:
    entries = {"provider": {"localserve": {"url": "y"}}}
    assert revert(merge({}, entries), entries, project(ABSENT, entries)) is ABSENT
    assert revert(merge({}, entries), entries, project({}, entries)) == {}


@given(DOCUMENTS, DOCUMENTS)
def test_a_document_says_what_was_merged_into_it(
    document: dict[str, object], entries: dict[str, object]
) -> None:
    merged = merge(document, entries)
    assert same(merge(merged, entries), merged)
    assert isinstance(merged, dict)
    assert merged.keys() == document.keys() | entries.keys()


@given(DOCUMENTS, DOCUMENTS)
def test_reverting_what_was_merged_gives_the_document_back(
    document: dict[str, object], entries: dict[str, object]
) -> None:
    merged = merge(document, entries)
    assert revert(merged, entries, project(document, entries)) == document


@given(DOCUMENTS, DOCUMENTS, DOCUMENTS)
def test_reverting_touches_no_key_that_was_not_written(
    document: dict[str, object], entries: dict[str, object], later: dict[str, object]
) -> None:
    later = {key: value for key, value in later.items() if key not in entries}
    changed = {**document, **later}
    merged = merge(changed, entries)
    reverted = revert(merged, entries, project(document, entries))
    kept = {} if reverted is ABSENT else reverted
    assert isinstance(kept, dict)
    for key, value in later.items():
        assert same(kept[key], value)


def test_sameness_knows_true_from_one() -> None:
    assert not same({"a": True}, {"a": 1})
    assert not same(1, 1.0)
    assert same([{"a": None}], [{"a": None}])
