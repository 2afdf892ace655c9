"""Messages as variables, and the forms that picky templates accept."""

from __future__ import annotations

from localserve.chat import Message, Tool, ToolCall
from localserve.prompting.turns import accepted_forms, message_variables, tool_variables

SYSTEM = Message("system", "Be brief.")
USER = Message("user", "Hi")


def test_keys_without_a_value_are_left_out() -> None:
    assert message_variables(USER) == {"role": "user", "content": "Hi"}


def test_missing_content_is_an_empty_string() -> None:
    assert message_variables(Message("assistant", None))["content"] == ""


def test_calls_have_the_openai_shape_with_arguments_as_an_object() -> None:
    message = Message("assistant", None, tool_calls=(ToolCall("c1", "add", '{"a": 1}'),))
    function = {"name": "add", "arguments": {"a": 1}}
    call = {"id": "c1", "type": "function", "function": function}
    assert message_variables(message)["tool_calls"] == [call]


def test_arguments_that_are_not_json_stay_text_and_none_are_an_empty_object() -> None:
    def arguments(text: str, *, as_text: bool = False) -> object:
        message = Message("assistant", None, tool_calls=(ToolCall("c1", "add", text),))
        calls = message_variables(message, arguments_as_text=as_text)["tool_calls"]
        assert isinstance(calls, list)
        return calls[0]["function"]["arguments"]

    assert arguments('{"a": ') == '{"a": '
    assert arguments(" ") == {}
    assert arguments("[" * 100_000) == "[" * 100_000
    assert arguments('{"a": 1}', as_text=True) == '{"a": 1}'
    assert str(arguments('{"é":   true}')) == '{"é": true}'


def test_reasoning_goes_under_each_key_asked_for() -> None:
    message = Message("assistant", "4", reasoning="2+2")
    variables = message_variables(message, reasoning_keys=("reasoning_content", "thinking"))
    assert variables["reasoning_content"] == variables["thinking"] == "2+2"
    assert "reasoning" not in variables


def test_a_result_names_its_call() -> None:
    variables = message_variables(Message("tool", "3", name="add", tool_call_id="c1"))
    assert variables == {"role": "tool", "content": "3", "name": "add", "tool_call_id": "c1"}


def test_content_can_be_typed_parts() -> None:
    parts = [{"type": "text", "text": "Hi"}]
    assert message_variables(USER, content_as_parts=True)["content"] == parts


def test_a_tool_always_has_a_description_and_parameters() -> None:
    nothing = {"type": "object", "properties": {}}
    function = {"name": "now", "description": "", "parameters": nothing}
    assert tool_variables(Tool("now")) == {"type": "function", "function": function}


def test_the_first_form_is_the_messages_as_they_are() -> None:
    messages = (USER, SYSTEM, SYSTEM, USER)
    assert next(accepted_forms(messages)) is messages


def test_a_plain_conversation_has_no_other_form() -> None:
    assert list(accepted_forms((USER, Message("assistant", "Yes?"), USER))) == [
        (USER, Message("assistant", "Yes?"), USER)
    ]


def test_system_messages_are_gathered_and_then_folded_into_the_first_user() -> None:
    messages = (USER, Message("assistant", "Yes?"), SYSTEM, Message("user", "Bye"))
    _, gathered, folded = accepted_forms(messages)
    assert gathered == (SYSTEM, USER, Message("assistant", "Yes?"), Message("user", "Bye"))
    assert folded[0] == Message("user", "Be brief.\n\nHi")
    assert folded[1:] == gathered[2:]


def test_a_system_message_alone_becomes_the_users() -> None:
    assert list(accepted_forms((SYSTEM,)))[-1] == (Message("user", "Be brief."),)


def test_neighbours_of_one_role_are_joined_but_results_of_tools_are_not() -> None:
    calls = (ToolCall("c1", "a", "{}"), ToolCall("c2", "b", "{}"))
    messages = (
        USER,
        Message("user", "there"),
        Message("assistant", None, tool_calls=calls[:1]),
        Message("assistant", "wait", tool_calls=calls[1:]),
        Message("tool", "1", tool_call_id="c1"),
        Message("tool", "2", tool_call_id="c2"),
    )
    assert list(accepted_forms(messages))[1] == (
        Message("user", "Hi\n\nthere"),
        Message("assistant", "wait", tool_calls=calls),
        *messages[-2:],
    )


def test_reasoning_is_dropped_only_where_text_and_calls_come_with_it() -> None:
    call = (ToolCall("c1", "a", "{}"),)
    thought = Message("assistant", None, tool_calls=call, reasoning="hm")
    full = Message("assistant", "Let me look.", tool_calls=call, reasoning="hm")
    result = Message("tool", "1", tool_call_id="c1")
    forms = list(accepted_forms((USER, thought, result, full, result)))
    assert [message.reasoning for message in forms[1]] == [None, "hm", None, None, None]


def test_ids_of_calls_are_shortened_for_templates_that_refuse_them() -> None:
    call = ToolCall("call_0123456789", "f", "{}")
    messages = (
        Message("assistant", None, tool_calls=(call,)),
        Message("tool", "7", tool_call_id=call.id),
    )
    as_they_are, shortened = list(accepted_forms(messages))[:2]
    assert as_they_are == messages
    short = shortened[0].tool_calls[0].id
    assert len(short) == 9
    assert short.isalnum()
    assert shortened[1].tool_call_id == short


def test_ids_that_are_short_already_stay() -> None:
    messages = (Message("assistant", None, tool_calls=(ToolCall("Ab3dEf9h0", "f", "{}"),)),)
    assert list(accepted_forms(messages)) == [messages]
