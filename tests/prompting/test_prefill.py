"""How the assistant's own words are continued."""

from __future__ import annotations

import pytest

from localserve.chat import Message, ToolCall
from localserve.errors import InvalidRequest
from localserve.prompting.prefill import prefill_text, split_prefill

USER = Message("user", "Hi")
WORDS = Message("assistant", "Hello, ")


def test_a_conversation_that_ends_with_the_user_has_no_prefill() -> None:
    assert split_prefill((USER, WORDS, USER)) == ((USER, WORDS, USER), None)
    assert split_prefill(()) == ((), None)


def test_trailing_words_of_the_assistant_are_taken_off() -> None:
    assert split_prefill((USER, WORDS)) == ((USER,), WORDS)


def test_two_trailing_assistant_messages_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="only one can be continued") as caught:
        split_prefill((USER, WORDS, WORDS))
    assert caught.value.param == "messages"


def test_trailing_calls_are_refused_with_what_to_do() -> None:
    call = Message("assistant", None, tool_calls=(ToolCall("c1", "a", "{}"),))
    with pytest.raises(InvalidRequest, match="role 'tool'"):
        split_prefill((USER, call))


@pytest.mark.parametrize(
    ("content", "reasoning", "prompt", "template", "expected"),
    [
        ("Hello, ", None, "<a>\n", "", "Hello, "),
        ("", None, "<a>\n<think>\n", "<think></think>", ""),
        ("", "hm", "<a>\n<think>\n", "<think></think>", "hm"),
        ("Hello", "hm", "<a>\n<think>\n", "<think></think>", "hm\n</think>\n\nHello"),
        ("Hello", "hm", "<a><think>", "<think></think>", "hm</think>Hello"),
        ("Hello", None, "<a>\n<think>\n", "<think></think>", "\n</think>\n\nHello"),
        ("Hello", "hm", "<a>\n", "<think>\\n</think>", "<think>\nhm\n</think>\n\nHello"),
        ("Hello", "hm", "<a>", "[THINK][/THINK]", "[THINK]hm[/THINK]Hello"),
        ("Hello", "hm", "<a><think></think>", "<think></think>", "Hello"),
        ("Hello", "hm", "<a>", "knows no thinking", "Hello"),
    ],
)
def test_words_follow_reasoning_as_the_template_marks_it(
    content: str, reasoning: str | None, prompt: str, template: str, expected: str
) -> None:
    message = Message("assistant", content, reasoning=reasoning)
    assert prefill_text(message, prompt, template) == expected


def test_a_family_with_channels_gets_its_channels() -> None:
    template = "<|channel|>analysis<|message|> and <|channel|>final<|message|>"
    prompt = "<|start|>assistant"
    assert prefill_text(WORDS, prompt, template) == "<|channel|>final<|message|>Hello, "
    thought = Message("assistant", "", reasoning="hm")
    assert prefill_text(thought, prompt, template) == "<|channel|>analysis<|message|>hm"
