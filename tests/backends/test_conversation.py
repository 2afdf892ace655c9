"""Prompts and parsers of a model, without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from localserve.backends import conversation as conversations
from localserve.backends.conversation import Conversation
from localserve.chat import CallPolicy, ChatRequest, Message, Tool
from localserve.prompting.output.deltas import ContentPiece, Piece, ReasoningPiece
from localserve.prompting.sandbox import TemplateProcess
from localserve.prompting.template import CHATML
from tests.prompting.output.small_templates import TEMPLATES, format_of

HELLO = (Message("user", "Hello"),)
THINKS = TEMPLATES["objects"].replace(
    "assistant\\n' }}{% endif", "assistant\\n<think>\\n' }}{% endif"
)


SPECIAL = {1: b"<tool_call>", 2: b"</think>"}


class Words:
    """A vocabulary of two special tokens and letters."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        for token, spelling in SPECIAL.items():
            if text == spelling.decode():
                return [token]
        return [1000 + ord(sign) for sign in text]

    def spelling(self, token: int) -> bytes:
        return SPECIAL.get(token) or chr(token - 1000).encode()

    def is_special(self, token: int) -> bool:
        return token in SPECIAL


@pytest_asyncio.fixture
async def conversation() -> AsyncIterator[Conversation]:
    templates = TemplateProcess()
    yield Conversation(templates, Words(), bos="", eos="")
    await templates.close()


async def test_a_style_is_the_format_with_its_special_tokens(conversation: Conversation) -> None:
    styles = await asyncio.gather(*(conversation.style(TEMPLATES["objects"]) for _ in range(3)))
    assert styles[0].format == format_of("objects")
    assert styles[0].special == SPECIAL
    assert styles[0] is styles[1] is styles[2]


async def test_what_a_stalled_machine_could_not_tell_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    templates = TemplateProcess(render_seconds=0.0)
    conversation = Conversation(templates, Words(), bos="", eos="")
    try:
        poor = await conversation.style(TEMPLATES["parameters"])
        templates.render_seconds = 20.0
        assert poor.format != format_of("parameters")
        assert await conversation.style(TEMPLATES["parameters"]) is poor
        monkeypatch.setattr(conversations, "LOOK_AGAIN_SECONDS", 0.0)
        conversation = Conversation(templates, Words(), bos="", eos="")
        templates.render_seconds = 0.0
        await conversation.style(TEMPLATES["parameters"])
        templates.render_seconds = 20.0
        later = await conversation.style(TEMPLATES["parameters"])
        assert later.format == format_of("parameters")
        assert await conversation.style(TEMPLATES["parameters"]) is later
    finally:
        await templates.close()


async def test_parsers_know_that_the_prompt_opened_reasoning(conversation: Conversation) -> None:
    request = ChatRequest("m", HELLO, reasoning_tokens=7)
    prompt = await conversation.prompt(request, THINKS)
    style = await conversation.style(THINKS)
    parser = conversation.parser(request, style, prompt)()
    assert parser.in_reasoning
    assert parser.feed("So") == [ReasoningPiece("So")]
    budget = conversation.budget(request, style, inside=True)
    assert budget is not None
    assert (budget.tokens, budget.opening, budget.closing) == (7, b"<think>", b"</think>")


@pytest.mark.parametrize(
    ("required", "told"), [(True, []), (False, [ContentPiece('<tool_call>{"name": "lo')])]
)
async def test_parsers_know_that_a_call_is_forced(
    conversation: Conversation, required: bool, told: list[Piece]
) -> None:
    calls, tools = CallPolicy(required=required), (Tool("look"),)
    request = ChatRequest("m", HELLO, tools=tools, calls=calls)
    style = await conversation.style(TEMPLATES["objects"])
    parser = conversation.parser(request, style, "")()
    assert parser.feed('<tool_call>{"name": "lo', [0]) + parser.finish() == told


async def test_reasoning_has_no_budget_unless_one_is_given(conversation: Conversation) -> None:
    style = await conversation.style(THINKS)
    assert conversation.budget(ChatRequest("m", HELLO), style, inside=True) is None


async def test_a_template_that_shows_no_tools_is_told_in_the_log(
    conversation: Conversation, caplog: pytest.LogCaptureFixture
) -> None:
    request = ChatRequest("m", HELLO, tools=(Tool("look"),))
    await conversation.prompt(request, TEMPLATES["objects"])
    assert not caplog.records
    await conversation.prompt(request, CHATML + "{# shows tool_calls, but no tools #}")
    assert "none of its 1 tools" in caplog.text
