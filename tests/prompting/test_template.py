"""Rendering with small templates, to the byte."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest

from localserve.chat import Message, Tool, ToolCall
from localserve.errors import InvalidRequest, TemplateFailed
from localserve.prompting.moment import moment, tells_day
from localserve.prompting.template import (
    CHATML,
    OUTPUT_CHARACTERS,
    RESERVED_OPTIONS,
    ChatTemplate,
    RenderRequest,
)

SYSTEM = Message("system", "Be brief.")
USER = Message("user", "Hi")
YES = Message("assistant", "Yes?")
LOOP = "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
DAY = date(2026, 3, 9)


def render(source: str, *messages: Message, **fields: Any) -> str:
    bos, eos = fields.pop("bos", ""), fields.pop("eos", "")
    request = RenderRequest(source, messages or (USER,), bos, eos, **fields)
    return ChatTemplate(source, bos=bos, eos=eos).render(request)


def test_the_default_template_is_chatml() -> None:
    assert render(CHATML, SYSTEM, USER) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_generation_prompt_can_be_left_out() -> None:
    expected = "<|im_start|>user\nHi<|im_end|>\n"
    assert render(CHATML, USER, add_generation_prompt=False) == expected


def test_bos_and_eos_are_variables() -> None:
    assert render("{{ bos_token }}x{{ eos_token }}", bos="<s>", eos="</s>") == "<s>x</s>"


def test_tools_are_defined_only_when_there_are_some() -> None:
    source = "{{ tools | tojson if tools is defined else 'none' }}"
    assert render(source) == "none"
    tool = Tool("now", "The time", {"type": "object", "properties": {}})
    assert render(source, tools=(tool,)) == (
        '[{"type": "function", "function": {"name": "now", "description": "The time",'
        ' "parameters": {"type": "object", "properties": {}}}}]'
    )


def test_a_template_that_asks_for_functions_gets_their_text() -> None:
    assert render("<{{ functions }}>") == "<>"
    assert '"name": "now"' in render("{{ 'F: ' + functions }}", tools=(Tool("now"),))


def test_options_are_variables() -> None:
    options = {"enable_thinking": False, "reasoning_effort": "low", "date_string": "today"}
    source = "{{ enable_thinking }} {{ reasoning_effort }} {{ date_string }}"
    assert render(source, options=options) == "False low today"


@pytest.mark.parametrize("name", sorted(RESERVED_OPTIONS))
def test_options_cannot_replace_what_the_server_sets(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name) as caught:
        render(CHATML, options={name: "x"})
    assert caught.value.param == "chat_template_kwargs"
    assert not isinstance(caught.value, TemplateFailed)


def test_time_stands_still_for_a_day() -> None:
    source = "{{ strftime_now('%Y-%m-%d %H:%M:%S') }} | {{ date_string }} | {{ datetime }}"
    expected = "2026-03-09 00:00:00 | 09 Mar 2026 | Mar 09 2026"
    assert render(source, day=DAY) == expected


@pytest.mark.parametrize("name", sorted(moment(DAY)))
def test_whatever_tells_the_day_is_found_in_the_text_of_a_template(name: str) -> None:
    assert tells_day("{% if " + name + " is defined %}Today: {{ " + name + " }}{% endif %}")
    assert not tells_day("{% for message in messages %}{{ message.content }}{% endfor %}")


def test_the_last_words_of_the_assistant_are_continued() -> None:
    prompt = render(CHATML, USER, Message("assistant", "Hello, "), add_generation_prompt=False)
    assert prompt.endswith("<|im_end|>\n<|im_start|>assistant\nHello, ")


def test_messages_that_are_accepted_are_not_changed() -> None:
    prompt = render(LOOP, USER, SYSTEM, USER, USER)
    assert prompt == "[user:Hi][system:Be brief.][user:Hi][user:Hi]"


SYSTEM_FIRST = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('system comes first') }}{% endif %}{% endfor %}" + LOOP
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{% endfor %}" + LOOP
)


def test_a_template_that_wants_system_first_gets_it_first() -> None:
    expected = "[system:Be brief.][user:Hi][assistant:Yes?][user:Hi]"
    assert render(SYSTEM_FIRST, USER, YES, SYSTEM, USER) == expected


def test_a_template_without_a_system_role_gets_it_in_the_first_user_message() -> None:
    assert render(NO_SYSTEM + LOOP, SYSTEM, USER) == "[user:Be brief.\n\nHi]"


def test_a_template_that_wants_alternating_roles_gets_neighbours_joined() -> None:
    expected = "[user:Be brief.\n\nHi\n\nHi][assistant:Yes?][user:Hi]"
    assert render(ALTERNATING, SYSTEM, USER, USER, YES, USER) == expected


def test_a_template_that_would_drop_the_system_message_gets_it_in_the_users() -> None:
    source = "{% for m in messages if m.role != 'system' %}{{ m.content }}|{% endfor %}"
    assert render(source, SYSTEM, USER) == "Be brief.\n\nHi|"


def test_a_template_that_rewrites_what_users_say_still_renders() -> None:
    source = "{% for m in messages %}{{ m.role }}:{{ m.content | upper }} {% endfor %}"
    assert render(source, SYSTEM, USER, USER) == "system:BE BRIEF. user:HI user:HI "


def test_the_templates_own_message_comes_through() -> None:
    with pytest.raises(TemplateFailed, match="roles must alternate") as caught:
        render(ALTERNATING, YES, USER)
    assert caught.value.code == "template_failed"


def test_a_template_that_reads_typed_parts_gets_them() -> None:
    source = "{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"
    assert render(source, SYSTEM, USER) == "Be brief.Hi"


def test_a_template_that_takes_both_gets_strings() -> None:
    source = "{% for m in messages %}{{ m.content is string }}{{ m.content }}{% endfor %}"
    assert render(source, USER) == "TrueHi"


CALL = Message("assistant", None, tool_calls=(ToolCall("c1", "f", '{"a": "é"}'),))
RESULT = Message("tool", "ok", tool_call_id="c1")
CALLS = "{% for m in messages %}{% for c in m.tool_calls or [] %}"
ENDS = "{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "expression",
    ["c.function.arguments | tojson", "c.function.arguments", "'' + c.function.arguments"],
)
def test_arguments_are_json_however_a_template_writes_them(expression: str) -> None:
    source = LOOP + CALLS + "{{ " + expression + " }}" + ENDS
    assert render(source, USER, CALL, RESULT).endswith(']{"a": "é"}')


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_comes_under_the_key_that_is_read(key: str) -> None:
    source = LOOP + "{{ messages[1]." + key + " }}{{ messages[1] | length }}"
    thought = Message("assistant", "4", reasoning="2+2")
    keys = 3 if key == "reasoning_content" else 4
    assert render(source, USER, thought, USER).endswith(f"2+2{keys}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a\n{% if %}", "line 2"),
        ("{% nonsense %}", "nonsense"),
        ("a\nb\n{{ x.y.z }}", "line 3.*'x' is undefined"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ range(10 ** 9) }}", "Range too big"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% include 'x' %}", "line 1"),
    ],
)
def test_what_goes_wrong_in_a_template_is_named(source: str, message: str) -> None:
    with pytest.raises(TemplateFailed, match=message):
        render(source)


FLOOD = "{% for i in range(99999) %}{{ 'x' * 99 }}{% endfor %}"


def test_output_is_limited() -> None:
    with pytest.raises(TemplateFailed, match=r"wrote more than 1000\d\d\d characters"):
        render(FLOOD)


def test_a_long_conversation_may_be_rendered_long() -> None:
    words = "a b c " * (OUTPUT_CHARACTERS // 4)
    assert render(CHATML, Message("user", words)).count(words) == 1


def test_an_unusual_mapping_is_as_good_as_a_dict() -> None:
    class Frozen(Mapping[str, object]):
        def __getitem__(self, key: str) -> object:
            return {"type": "object"}[key]

        def __iter__(self) -> Any:
            return iter(["type"])

        def __len__(self) -> int:
            return 1

    source = "{{ tools[0].function.parameters | tojson }}"
    assert render(source, tools=(Tool("f", None, Frozen()),)) == '{"type": "object"}'
