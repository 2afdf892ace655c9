"""Tools in the playground: what is asked with them, calls, their results, and copies that run."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from localserve.chat import Message, ToolCall
from localserve.testing import FakeBackend, Piece
from tests.browser.conftest import Opened
from tests.server.conftest import Serve, until

pytestmark = pytest.mark.browser

TOOLS = """[{"type": "function", "function": {"name": "get_weather", "strict": true,
  "parameters": {"type": "object", "properties": {"city": {"type": "string"}},
                 "additionalProperties": false}}}]"""
CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def weather(messages: Sequence[Message]) -> list[Piece]:
    results = [one.content for one in messages if one.role == "tool"]
    if results:
        return [f"It is {' and '.join(map(str, results))}."]
    return [
        "Let me look. ",
        ToolCall("call_1", "get_weather", '{"city": "Köln"}'),
        ToolCall("call_2", "get_weather", '{"city": "<b>Paris</b>"}'),
    ]


async def put_in_tools(page: Any, text: str) -> None:
    await page.get_by_text("Tools", exact=True).click()
    await page.get_by_label("Tools, a JSON list").fill(text)


async def say(page: Any, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def test_calls_are_shown_and_go_on_with_what_a_person_gives_back(
    serve: Serve, opened: Opened
) -> None:
    backend = FakeBackend(weather)
    async with serve(backend) as served, opened(served, "chat") as page:
        await put_in_tools(page, TOOLS)
        await page.get_by_label("Calls").select_option("it must call one")
        await say(page, "How is the weather?")
        calls = page.locator(".call")
        await calls.nth(1).wait_for()
        assert '"city": "<b>Paris</b>"' in await calls.nth(1).inner_text()
        fields = page.get_by_label("Result of get_weather")
        await fields.nth(0).fill("21 degrees")
        await fields.nth(1).fill("18 degrees")
        await page.get_by_role("button", name="Give the results and go on").click()
        await page.get_by_text("It is 21 degrees and 18 degrees.").wait_for()
        await page.get_by_role("button", name="Send").wait_for()
        assert await page.get_by_role("button", name="Give the result").count() == 0
        asked: Any = backend.requests[-1]
        assert [one.role for one in asked.messages] == ["user", "assistant", "tool", "tool"]
        assert [call.id for call in asked.messages[1].tool_calls] == ["call_1", "call_2"]
        assert asked.messages[2].tool_call_id == "call_1"
        assert [tool.name for tool in asked.tools] == ["get_weather"]
        await say(page, "Thanks")
        await until(lambda: len(backend.requests) == 3)
        asked = backend.requests[-1]
        assert [one.role for one in asked.messages][-2:] == ["assistant", "user"]


async def test_a_call_that_got_no_result_is_not_told_of(serve: Serve, opened: Opened) -> None:
    backend = FakeBackend(weather)
    async with serve(backend) as served, opened(served, "chat") as page:
        await put_in_tools(page, TOOLS)
        await say(page, "How is the weather?")
        await page.get_by_role("button", name="Give the results").wait_for()
        await say(page, "Never mind")
        await until(lambda: len(backend.requests) == 2)
        asked: Any = backend.requests[-1]
        assert [(one.role, one.content) for one in asked.messages] == [
            ("user", "How is the weather?"),
            ("assistant", "Let me look. "),
            ("user", "Never mind"),
        ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "The tools are no JSON"),
        ('[{"type": "function"}]', "Tool 1 has no name"),
        ("7", "no name"),
    ],
)
async def test_tools_that_are_none_lose_nothing(
    serve: Serve, opened: Opened, text: str, problem: str
) -> None:
    backend = FakeBackend(weather)
    async with serve(backend) as served, opened(served, "chat") as page:
        await put_in_tools(page, text)
        await page.get_by_role("status").get_by_text(problem).wait_for()
        await say(page, "How is the weather?")
        await page.get_by_role("alert").get_by_text(problem).wait_for()
        assert await page.get_by_label("Message", exact=True).input_value() == "How is the weather?"
        assert backend.requests == []
        await page.get_by_role("button", name="Put in an example").click()
        await page.get_by_label("Message", exact=True).press("Enter")
        await page.locator(".call").first.wait_for()


async def test_copies_have_the_tools_and_the_results_and_run(serve: Serve, opened: Opened) -> None:
    backend = FakeBackend(weather)
    async with serve(backend) as served, opened(served, "chat", **CLIPBOARD) as page:
        await put_in_tools(page, TOOLS)
        await page.get_by_label("Message", exact=True).fill("How is it?")
        text = await copied(page, "Copy as Python")
        assert "'strict': True" in text.replace('"', "'")
        output = await output_of(sys.executable, "-c", text)
        assert output.startswith('Let me look. get_weather{"city": "Köln"}')
        await page.get_by_label("Message", exact=True).press("Enter")
        await page.get_by_label("Result of get_weather").nth(1).fill("warm")
        await page.get_by_role("button", name="Give the results").click()
        await page.get_by_text("It is").wait_for()
        await page.get_by_label("Message", exact=True).fill("It's 'fine'")
        shell = (await copied(page, "Copy as curl")).replace("curl -N", "printf %s")
        body = json.loads((await output_of("sh", "-c", shell)).partition("-d")[2])
        roles = ["user", "assistant", "tool", "tool", "assistant", "user"]
        assert [one["role"] for one in body["messages"]] == roles
        assert body["tools"] == json.loads(TOOLS)
        assert await output_of(sys.executable, "-c", await copied(page, "Copy as Python")) == (
            "It is  and warm."
        )


async def copied(page: Any, button: str) -> str:
    await page.evaluate("navigator.clipboard.writeText('')")
    await page.get_by_role("button", name=button).click()
    await page.wait_for_function("navigator.clipboard.readText().then((text) => text !== '')")
    await page.get_by_role("button", name=button).wait_for()
    return str(await page.evaluate("navigator.clipboard.readText()"))


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode()
