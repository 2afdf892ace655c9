"""What a parser makes of what models really write, cut anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from localserve.prompting.output.deltas import ArgumentsPiece, CallBegun, ContentPiece
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.parser import AnswerParser
from tests.prompting.output.collected import Collected, parse
from tests.prompting.output.small_templates import TEMPLATES, format_of

TOOLS = {"look": {"type": "object", "properties": {"at": {"type": "string"}, "n": {}}}}
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "it"}}\n</tool_call>'

ODDMENTS = (
    *(" ", "\n", "a", "look", "all", '"', "'", "\\", "{", "}", "[", "]", "(", ")", ":", ",", "="),
    *("at", '"at"', '{"name": "look", "arguments": {', '{"at": "x"}', "1", "true", "<", ">", "|"),
    *("to=", "functions.look:0", "<![CDATA[", "]]>", "```json", "é", "🦫"),
)


def fragments(format: OutputFormat) -> st.SearchStrategy[str]:
    """Texts made of a format's markers and of what may stand between them."""
    parts = [*format.markers, *(marker[: len(marker) // 2] for marker in format.markers)]
    return st.lists(st.sampled_from([*parts, *ODDMENTS]), max_size=25).map("".join)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_how_a_text_is_cut_does_not_matter(name: str, data: st.DataObject) -> None:
    text = data.draw(fragments(format_of(name)))
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    whole = parse(format_of(name), text, TOOLS)
    assert parse(format_of(name), text, TOOLS, cuts=cuts) == whole
    assert parse(format_of(name), text, TOOLS, cuts=range(len(text))) == whole


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=80))
def test_text_without_markers_is_content_to_the_letter(name: str, text: str) -> None:
    assume(name != "arrows" or not ("\n" in text or ">>>" in text))
    assume(not any(marker in text for marker in format_of(name).markers))
    assert parse(format_of(name), text).content == text


@given(text=st.text(alphabet="<tool_ca>{}\"'\\ \nx", max_size=200))
def test_without_tools_a_call_is_text(text: str) -> None:
    assert parse(format_of("objects"), text + CALL).names == []


def test_nothing_is_held_back_that_cannot_become_a_marker() -> None:
    parser = AnswerParser(format_of("objects"), TOOLS)
    assert parser.feed("Look: <too") == [ContentPiece("Look:")]
    assert parser.feed("th") == [ContentPiece(" <tooth")]


def test_the_name_comes_first_and_arguments_as_they_are_written() -> None:
    parser = AnswerParser(format_of("objects"), TOOLS)
    assert parser.feed('<tool_call>\n{"name": "lo') == []
    assert parser.feed('ok"') == [CallBegun(0, "look", None)]
    assert parser.feed(', "arguments": {"at": "th') == [ArgumentsPiece(0, '{"at": "th')]
    assert parser.feed('ere"}}') == [ArgumentsPiece(0, 'ere"}')]


def test_a_text_argument_is_passed_on_before_it_ends() -> None:
    parser = AnswerParser(format_of("parameters"), TOOLS)
    begun = parser.feed("<tool_call>\n<function=look>\n<parameter=at>\none ")
    assert begun == [CallBegun(0, "look", None), ArgumentsPiece(0, '{"at": "one ')]
    assert parser.feed('"two"\n') == [ArgumentsPiece(0, '\\"two\\"')]
    assert parser.feed("three\n</par") == [ArgumentsPiece(0, "\\nthree")]
    assert parser.feed("ameter>\n</function>") == [ArgumentsPiece(0, '"}')]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n{not json}\n</tool_call>",
        "<tool_call>",
        '<tool_call>{"arguments": {}}',
        '<tool_call>{"name": 5}</tool_call>',
        "<tool_call>Hello</tool_call>",
        '<tool_call>{"name": "lo',
    ],
)
def test_what_is_no_call_comes_out_as_text(text: str) -> None:
    got = parse(format_of("objects"), text, TOOLS)
    assert (got.content, got.names) == (text, [])


def test_a_call_that_breaks_off_keeps_what_was_written() -> None:
    text = '<tool_call>{"name": "look", "arguments": {"at": "th'
    got = parse(format_of("objects"), text, TOOLS)
    assert (got.names, got.arguments) == (["look"], ['{"at": "th'])


@pytest.mark.parametrize("apart", [True, False])
def test_of_a_forced_call_that_breaks_off_no_markup_is_text(apart: bool) -> None:
    thought = "<think>\nSo.\n</think>\n"
    for end in range(len(CALL) * 2):
        text = thought + (CALL + CALL)[:end]
        got = parse(format_of("objects"), text, TOOLS, reasoning_apart=apart, calls_only=True)
        said = (got.content, got.reasoning)
        assert said == (("", "So.") if apart else ("<think>\nSo.\n</think>", "")), text
        assert got.names == ["look"] * (CALL + CALL)[:end].count('"look"')


def test_code_that_breaks_off_is_closed_where_the_answer_ends() -> None:
    got = parse(format_of("code"), '<|tool_call_start|>[look(at="there"', TOOLS)
    assert json.loads(got.arguments[0]) == {"at": "there"}


@pytest.mark.parametrize(
    "arguments",
    ['{"at": "it"}', '"{\\"at\\": \\"it\\"}"'],
    ids=["as an object", "as text"],
)
@pytest.mark.parametrize(
    "shape",
    [
        '{"name": "look", "arguments": ARGS}',
        '{"arguments": ARGS, "name": "look"}',
        '{"type": "function", "name": "look", "parameters": ARGS}',
        '{"type": "function", "function": {"name": "look", "arguments": ARGS}}',
        '{"id": "x1", "name": "look", "arguments": ARGS}',
    ],
)
def test_all_common_shapes_of_call_objects_are_understood(shape: str, arguments: str) -> None:
    text = f"<tool_call>\n{shape.replace('ARGS', arguments)}\n</tool_call>"
    got = parse(format_of("objects"), text, TOOLS)
    assert (got.names, json.loads(got.arguments[0])) == (["look"], {"at": "it"})
    assert got.content == ""


def test_an_opener_that_a_model_leaves_out_is_not_missed() -> None:
    text = "I look.\n<function=look>\n<parameter=at>\nit\n</parameter>\n</function>\n</tool_call>"
    got = parse(format_of("parameters"), text, TOOLS)
    assert (got.content, got.names, got.arguments) == ("I look.", ["look"], ['{"at": "it"}'])


def test_a_close_tag_within_a_value_is_a_part_of_it() -> None:
    value = "<parameter=x>\n</parameter> is how one ends"
    text = f"<function=look>\n<parameter=at>\n{value}\n</parameter>\n</function>"
    got = parse(format_of("parameters"), text, TOOLS)
    assert json.loads(got.arguments[0]) == {"at": value}


def test_values_of_python_are_values_of_json() -> None:
    text = "<function=look>\n<parameter=n>\nTrue\n</parameter>\n</function>"
    assert parse(format_of("parameters"), text, TOOLS).arguments == ['{"n": true}']


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1" * 5000, "[" * 5000])
def test_what_json_cannot_say_becomes_text(value: str) -> None:
    text = f"<function=look>\n<parameter=n>\n{value}\n</parameter>\n</function>"
    assert json.loads(parse(format_of("parameters"), text, TOOLS).arguments[0]) == {"n": value}


def test_structures_as_python_prints_them_are_json() -> None:
    tools = {"look": {"properties": {"n": {"type": "array"}, "at": {"type": "string"}}}}
    value = "['a', {'b': True}]"
    text = f"<function=look>\n<parameter=KEY>\n{value}\n</parameter>\n</function>"
    as_list = parse(format_of("parameters"), text.replace("KEY", "n"), tools).arguments[0]
    assert json.loads(as_list) == {"n": ["a", {"b": True}]}
    as_text = parse(format_of("parameters"), text.replace("KEY", "at"), tools).arguments[0]
    assert json.loads(as_text) == {"at": value}


def test_values_of_code_may_be_of_python_or_json() -> None:
    text = "<|tool_call_start|>[look(n={'a': [True, null, -1.5e3], \"b\": 'it\\'s'})]"
    got = parse(format_of("code"), text, TOOLS)
    assert json.loads(got.arguments[0]) == {"n": {"a": [True, None, -1500.0], "b": "it's"}}


def test_a_call_within_reasoning_belongs_to_it_if_the_reasoning_goes_on() -> None:
    got = parse(format_of("objects"), f"<think>Perhaps {CALL}?</think>\n{CALL}", TOOLS)
    assert (got.reasoning, len(got.names)) == (f"Perhaps {CALL}?", 1)


def test_a_call_ends_reasoning_that_is_never_closed() -> None:
    got = parse(format_of("objects"), f"<think>I look.\n{CALL}", TOOLS)
    assert (got.reasoning, got.names, got.content) == ("I look.", ["look"], "")


def test_a_model_may_write_about_markers() -> None:
    text = "Models write `<think>` and `</think>` around thoughts."
    assert parse(format_of("objects"), text, TOOLS).content == text


def test_reasoning_can_stay_in_the_content() -> None:
    text = "<think>\nSo.\n</think>\n\nYes."
    got = parse(format_of("objects"), text, TOOLS, reasoning_apart=False)
    assert (got.content, got.reasoning) == (text, "")


@pytest.mark.parametrize(
    ("begin", "text", "reasoning", "content"),
    [
        ("<think>\n", "So.\n</think>\n\nYes.", "So.", "Yes."),
        ("<think>\nSo", " it is.\n</think>\n\nYes.", " it is.", "Yes."),
        ("<think>\n\n</think>\n\n", "Yes.", "", "Yes."),
        ("<think>\nSo.\n</think>\n\nYes,", " indeed.", "", " indeed."),
        ("Yes, ", "indeed.", "", "indeed."),
        ("Yes", ", indeed.", "", ", indeed."),
        ("Is 1 <", " 2?", "", " 2?"),
    ],
)
def test_an_answer_goes_on_where_the_prompt_ends(
    begin: str, text: str, reasoning: str, content: str
) -> None:
    got = parse(format_of("objects"), text, TOOLS, begin=begin)
    assert (got.reasoning, got.content) == (reasoning, content)


def test_whether_the_model_reasons_is_known_at_any_time() -> None:
    parser = AnswerParser(format_of("objects"))
    parser.begin("<think>\n")
    assert parser.in_reasoning
    parser.feed("So.</think>")
    assert not parser.in_reasoning


def test_a_special_token_counts_and_its_letters_do_not() -> None:
    parser = AnswerParser(format_of("objects"), TOOLS, special=["<tool_call>", "</tool_call>"])
    got = Collected()
    got.add(parser.feed(f"As text: {CALL}\n"))
    got.add(parser.feed("<tool_call>", [0]))
    got.add(parser.feed('{"name": "look", "arguments": {}}'))
    got.add(parser.feed("</tool_call>", [0]))
    got.add(parser.finish())
    assert (got.content, got.names) == (f"As text: {CALL}", ["look"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["<tool_call>", "</tool_call>", "<think>", "</think>", '{"name": "look"', "}", "a "]
            ),
            st.booleans(),
        ),
        max_size=15,
    ),
    st.integers(1, 9),
)
def test_how_special_tokens_are_handed_over_does_not_matter(
    tokens: list[tuple[str, bool]], size: int
) -> None:
    marks = ["<tool_call>", "</tool_call>", "<think>", "</think>"]
    results = []
    for step in (1, size):
        parser = AnswerParser(format_of("objects"), TOOLS, special=marks)
        got = Collected()
        for start in range(0, len(tokens), step):
            text, places = "", []
            for part, special in tokens[start : start + step]:
                places += [len(text)] if special and part in marks else []
                text += part
            got.add(parser.feed(text, places))
        got.add(parser.finish())
        results.append(got)
    assert results[0] == results[1]


def test_special_tokens_of_calls_are_text_where_there_are_no_tools() -> None:
    parser = AnswerParser(format_of("objects"), special=["<tool_call>"])
    assert parser.feed("<tool_call>{}", [0]) == [ContentPiece("<tool_call>{}")]


def test_a_special_token_out_of_place_is_not_shown() -> None:
    parser = AnswerParser(format_of("objects"), TOOLS, special=["</tool_call>"])
    assert parser.feed("Yes</tool_call>.", [3]) == [ContentPiece("Yes.")]


def test_deep_nesting_ends_a_call_and_nothing_else() -> None:
    got = parse(format_of("code"), "<|tool_call_start|>[look(n=" + "[" * 5000, TOOLS)
    assert got.names == ["look"]
    deep = '<tool_call>{"name": "look", "arguments": ' + "[" * 50_000
    assert parse(format_of("objects"), deep, TOOLS).names == ["look"]
    nested = "]<]minimax[>[<"
    text = f'{nested}invoke name="look">' + f"{nested}n>" * 5000
    assert parse(format_of("nested_tags"), text, TOOLS).names == ["look"]


@pytest.mark.parametrize("part", ['<tool_call>{"x": ', "<think>", "<tool_call>", "{", '"', " "])
def test_hostile_repetition_is_read_in_time_that_grows_with_its_length(part: str) -> None:
    text = part * (200_000 // len(part))
    got = parse(format_of("objects"), text, TOOLS, cuts=range(0, len(text), 50))
    assert len(got.content) + len(got.reasoning) <= len(text)
    assert parse(format_of("objects"), text, TOOLS) == got


def test_a_call_without_a_marker_is_one_of_an_offered_tool() -> None:
    call = '{"name": "look", "arguments": {"at": "it"}}'
    assert parse(format_of("bare"), call, TOOLS).names == ["look"]
    other = '{"name": "Ada", "arguments": {"at": "it"}}'
    assert parse(format_of("bare"), other, TOOLS).content == other
    assert parse(format_of("bare_code"), 'look(at="it")', TOOLS).names == ["look"]
    for text in ('print(at="it")', "[a link](there)", "[look](at)", "(look)"):
        assert parse(format_of("bare_code"), text, TOOLS).content == text


def test_messages_to_the_user_and_to_oneself_are_content_and_reasoning() -> None:
    text = (
        "<|channel|>analysis<|message|>So.<|end|>"
        "<|start|>assistant<|channel|>commentary<|message|>I look.<|end|>"
        '<|start|>assistant to=functions.look<|channel|>commentary json<|message|>{"at": "it"}'
    )
    got = parse(format_of("channels"), text, TOOLS)
    assert (got.reasoning, got.content, got.names) == ("So.", "I look.", ["look"])
    assert got.arguments == ['{"at": "it"}']


def test_an_answer_without_a_head_is_content() -> None:
    assert parse(format_of("channels"), "Just this.", TOOLS).content == "Just this."
