"""JSON with comments: what is read, and what an edit leaves alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.connect.jsonc import Malformed, parse
from localserve.connect.jsonc_edit import rewrite
from localserve.connect.merging import same
from tests.connect.generated import DOCUMENTS

SETTINGS = """\
// My settings
{
  "theme": "dark", // at night
  /* fonts
     are large */
  "font": {
    "size": 14, // px
  },
  "list": [
    1,
    2 // two
  ] // done
}
// the end
"""


def test_it_reads_what_editors_read() -> None:
    assert parse(SETTINGS) == {"theme": "dark", "font": {"size": 14}, "list": [1, 2]}
    assert parse('\ufeff{"a": "x // y /* z */", "b": "\\u00e9\\""}') == {
        "a": "x // y /* z */",
        "b": 'é"',
    }
    assert parse('{"a": 1, "a": 2}') == {"a": 2}
    for empty in ("", " \n", "// nothing\n", "/* nothing */"):
        assert parse(empty) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1', "line 1: it ends too early"),
        ('{\n"a" 1}', "line 2: a colon is missing"),
        ('{"a": 1 "b": 2}', "line 1: a comma is missing"),
        ("{a: 1}", "line 1: a value or a name in double quotes is expected"),
        ("{'a': 1}", "line 1: a value or a name in double quotes is expected"),
        ('{"a": 1} {', "line 1: something stands behind the end"),
        ('{"a": 1.2.3}', "line 1: 1.2.3 is no value"),
        ('{"a": "\\x"}', 'line 1: "\\x" is no value'),
        ('{"a": /* }', "line 1: a value or a name in double quotes is expected"),
        ("[" * 5000, "line 1: values are nested more than 100 deep"),
        ('{,"a": 1}', "line 1: a value or a name in double quotes is expected"),
    ],
)
def test_what_is_malformed_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse(text)
    assert str(refused.value) == problem


def test_a_new_entry_follows_the_layout_and_leaves_comments_where_they_are() -> None:
    wanted = parse(SETTINGS)
    assert isinstance(wanted, dict)
    wanted = {**wanted, "font": {"size": 14, "bold": True}, "new": {"deep": {"a": 1}}}
    assert (
        rewrite(SETTINGS, wanted)
        == """\
// My settings
{
  "theme": "dark", // at night
  /* fonts
     are large */
  "font": {
    "size": 14, // px
    "bold": true,
  },
  "list": [
    1,
    2 // two
  ], // done
  "new": {
    "deep": {
      "a": 1
    }
  }
}
// the end
"""
    )


def test_entries_are_removed_with_their_lines() -> None:
    text = '{\n\t"a": 1,\n\t"b": {\n\t\t"c": 2\n\t}, // b\n\t"d": 3 // d\n}\n'
    assert rewrite(text, {"a": 1, "b": {"c": 2}}) == (
        '{\n\t"a": 1,\n\t"b": {\n\t\t"c": 2\n\t} // b\n\t // d\n}\n'
    )
    assert rewrite(text, {"d": 3}) == '{\n\t // b\n\t"d": 3 // d\n}\n'


def test_one_line_stays_one_line() -> None:
    assert rewrite('{"a": 1}', {"a": 2, "b": {"c": 3}}) == '{"a": 2, "b": {"c": 3}}'
    assert rewrite('{"a": 1, "b": 2}', {"a": 1}) == '{"a": 1 }'


def test_empty_objects_are_filled_and_keep_their_comments() -> None:
    assert rewrite("{}\n", {"a": 1}) == '{\n  "a": 1\n}\n'
    assert rewrite("{\n  // soon\n}\n", {"a": 1}) == '{\n  // soon\n  "a": 1\n}\n'
    assert rewrite("// soon\n", {"a": 1}) == '// soon\n{\n  "a": 1\n}\n'
    assert rewrite("", [{"name": "x"}]) == '[\n  {\n    "name": "x"\n  }\n]\n'


def test_lists_of_named_things_are_edited_in_place() -> None:
    text = '[\n  {"name": "theirs", "x": 1}, // mine\n  {"name": "ours", "y": 1}\n]\n'
    wanted = [{"name": "theirs", "x": 1}, {"name": "ours", "y": 2}, {"name": "new"}]
    assert rewrite(text, wanted) == (
        '[\n  {"name": "theirs", "x": 1}, // mine\n  {"name": "ours", "y": 2},\n'
        '  {\n    "name": "new"\n  }\n]\n'
    )


def test_line_ends_and_indentation_of_the_file_are_used() -> None:
    text = '{\r\n    "a": 1\r\n}\r\n'
    assert rewrite(text, {"a": 1, "b": {"c": 2}}) == (
        '{\r\n    "a": 1,\r\n    "b": {\r\n        "c": 2\r\n    }\r\n}\r\n'
    )


def test_a_name_that_occurs_twice_is_changed_where_it_counts() -> None:
    assert rewrite('{"a": 1, "a": 2}', {"a": 3}) == '{"a": 1, "a": 3}'
    assert rewrite('{"a": 1, "a": 2}', {}) == "{ }"


@given(DOCUMENTS, DOCUMENTS, st.sampled_from([None, 2, "\t"]))
def test_any_text_can_be_made_to_say_anything(
    before: dict[str, object], wanted: dict[str, object], indent: int | str | None
) -> None:
    text = json.dumps(before, indent=indent)
    assert same(parse(rewrite(text, wanted)), wanted)
    assert same(json.loads(rewrite(text, wanted)), wanted)


@given(DOCUMENTS)
def test_what_is_said_already_changes_nothing(document: dict[str, object]) -> None:
    text = "// mine\n" + json.dumps(document, indent=3)
    assert rewrite(text, document) == text
