"""What goes wrong around the page: restarts, two tabs, no network or a slow one, long and foreign
texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from localserve.chat import Message
from localserve.testing import FakeBackend, Piece
from tests.browser.conftest import Opened
from tests.manager.rig import Rig
from tests.server.conftest import CHAT, Serve, until

pytestmark = pytest.mark.browser


async def say(page: Any, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def test_the_page_finds_a_server_that_was_restarted(serve: Serve, opened: Opened) -> None:
    async with serve() as first, opened(first, "now") as page:
        await page.get_by_text("connected").wait_for()
        first.server.should_exit = True
        await page.get_by_text("offline, reconnecting").wait_for()
        async with serve(listen_on=first.port) as second:
            await page.get_by_text("connected").wait_for()
            await second.client.post(CHAT, json={})
            await page.get_by_text("invalid_schema").wait_for()


async def test_an_answer_that_a_restart_cut_says_so_and_is_asked_again(
    serve: Serve, opened: Opened
) -> None:
    endless = FakeBackend("word " * 3000, token_delay_seconds=0.01)
    async with serve(endless) as first, opened(first, "chat") as page:
        await say(page, "Go on")
        await page.get_by_text("word word").wait_for()
        first.server.should_exit = True
        log = page.get_by_role("log")
        await log.locator(".problem").wait_for()
        assert "word word" in await log.inner_text()
        async with serve(listen_on=first.port) as _:
            await page.get_by_text("connected").wait_for()
            await page.get_by_role("button", name="Retry").click()
            await page.get_by_text("Hello there!").wait_for()
            assert await log.locator(".problem").count() == 0
            assert await log.locator(".message").count() == 2


async def test_two_tabs_see_the_same_server_and_hold_conversations_of_their_own(
    serve: Serve, opened: Opened
) -> None:
    rig = Rig({"chat": 60, "code": 30}, 100_000, context_tokens=4096)
    async with serve(manager=rig.manager) as served, opened(served, "models") as page:
        other = await page.context.new_page()
        await other.goto(f"http://127.0.0.1:{served.port}/#models")
        await page.get_by_label("Unload chat", exact=True).click()
        await other.get_by_label("Load chat", exact=True).click()
        await page.get_by_label("Unload chat", exact=True).wait_for()
        for tab, text in ((page, "from the one"), (other, "from the other")):
            await tab.get_by_role("navigation").get_by_text("Chat").click()
            await say(tab, text)
        for tab, text in ((page, "from the one"), (other, "from the other")):
            await tab.get_by_text("tokens/s").wait_for()
            log = await tab.get_by_role("log").inner_text()
            assert text in log
            assert log.count("from the") == 1


async def test_what_one_tab_ended_is_no_riddle_to_the_other(serve: Serve, opened: Opened) -> None:
    backend = FakeBackend("word " * 3000, token_delay_seconds=0.01)
    async with serve(backend) as served, opened(served, "chat") as page:
        await say(page, "Go on")
        await page.get_by_text("word word").wait_for()
        other = await page.context.new_page()
        await other.goto(f"http://127.0.0.1:{served.port}/#now")
        await other.get_by_role("button", name="Cancel").click()
        await other.get_by_text("Nothing is being answered.").wait_for()
        problem = page.get_by_role("log").locator(".problem")
        await problem.wait_for()
        assert "cancelled" in await problem.inner_text()


async def test_without_a_network_nothing_that_was_typed_is_lost(
    serve: Serve, opened: Opened
) -> None:
    async with serve() as served, opened(served, "chat") as page:
        await page.get_by_role("option", name="fake").wait_for(state="attached")
        await page.context.set_offline(True)
        await page.get_by_text("reconnecting").wait_for()
        await say(page, "Hello")
        await page.get_by_role("log").get_by_text("The server cannot be reached.").wait_for()
        for name in ("Models", "Connect", "Keys", "Settings", "Now"):
            await page.get_by_role("navigation").get_by_text(name).click()
            await page.get_by_role("heading", name=name, exact=True).wait_for()
        await page.get_by_role("navigation").get_by_text("Chat").click()
        assert "Hello" in await page.get_by_role("log").inner_text()
        await page.context.set_offline(False)
        await page.get_by_text("connected").wait_for()
        await page.get_by_role("button", name="Retry").click()
        await page.get_by_text("Hello there!").wait_for()


async def test_a_page_that_was_opened_too_early_fills_itself(serve: Serve, opened: Opened) -> None:
    """Its lists, too, once there is a server again: nobody has to reload."""
    async with serve() as served, opened(served, "now") as page:
        await page.get_by_text("connected").wait_for()
        await page.context.set_offline(True)
        await page.get_by_text("reconnecting").wait_for()
        for name in ("Settings", "Connect", "Keys", "Models", "Chat"):
            await page.get_by_role("navigation").get_by_text(name).click()
            await page.get_by_role("heading", name=name, exact=True).wait_for()
        await page.context.set_offline(False)
        await page.get_by_role("option", name="fake").wait_for(state="attached")
        assert not await page.get_by_role("alert").is_visible()


async def test_on_a_slow_line_the_page_comes_and_an_answer_streams(
    serve: Serve, opened: Opened
) -> None:
    async with serve(FakeBackend("Hello there, slowly!")) as served, opened(served, "now") as page:
        session = await page.context.new_cdp_session(page)
        await session.send("Network.enable")
        slow = {"offline": False, "latency": 400, "downloadThroughput": 50_000}
        await session.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 20_000})
        await page.goto(f"http://127.0.0.1:{served.port}/#chat")
        await page.reload()
        await page.get_by_role("option", name="fake").wait_for(state="attached")
        await say(page, "Hello")
        await page.get_by_text("Hello there, slowly!").wait_for()
        await page.get_by_role("navigation").get_by_text("Models").click()
        await page.get_by_text("In the catalog").wait_for()


async def test_a_paste_of_200_000_tokens_leaves_the_page_alive(
    serve: Serve, opened: Opened
) -> None:
    backend = FakeBackend(context_tokens=1 << 20)
    allowed = {"permissions": ["clipboard-read", "clipboard-write"]}
    async with serve(backend) as served, opened(served, "chat", **allowed) as page:
        text = "wörter und 🦙 " * 66_667
        await page.evaluate("text => navigator.clipboard.writeText(text)", text)
        await page.get_by_label("Message", exact=True).focus()
        await page.keyboard.press("Control+V")
        await page.get_by_text("pasted text, 933,338 characters").wait_for()
        await page.keyboard.press("Control+V")
        await page.get_by_label("Remove pasted text 2").click()
        await page.keyboard.type("Read this:")
        await page.keyboard.press("Enter")
        await page.get_by_text("Hello there!").wait_for()
        asked: Any = backend.requests[-1]
        assert asked.messages[-1].content == f"Read this:\n\n{text.strip()}"
        log = page.get_by_role("log")
        assert "200,003 prompt tokens" in await log.inner_text()
        assert len(await log.inner_text()) < 3_000  # the beginning
        assert await log.get_by_role("button", name="Show all 933,349 characters").count() == 1
        await say(page, "And then?")
        await until(lambda: len(backend.requests) == 2)


async def test_a_paste_beyond_the_context_says_by_how_much_and_can_be_taken_back(
    serve: Serve, opened: Opened
) -> None:
    backend = FakeBackend(context_tokens=512)
    async with serve(backend) as served, opened(served, "chat") as page:
        await say(page, "word " * 200_000)
        await page.get_by_text("200000").first.wait_for()
        assert "512" in await page.get_by_role("log").locator(".problem").inner_text()
        await page.get_by_role("button", name="Clear").click()
        await say(page, "Hello")
        await page.get_by_text("Hello there!").wait_for()


MIXED = """# שלום עולם 🦙

مرحبا **بالعالم** — 👩‍👩‍👧‍👦 🇩🇪 é é \u202eevil\u202c 漢字

- پایتون
- English

```python
print("שלום")
```
"""


async def test_emoji_and_right_to_left_texts_stand_as_they_are_meant(
    serve: Serve, opened: Opened
) -> None:
    def script(messages: Sequence[Message]) -> list[Piece]:
        return list(MIXED)  # a code point at a time

    backend = FakeBackend(script)
    async with serve(backend) as served, opened(served, "chat") as page:
        await say(page, MIXED)
        await page.get_by_text("tokens/s").wait_for()
        asked: Any = backend.requests[-1]
        assert asked.messages[-1].content == MIXED.strip()
        answer = page.locator(".message.assistant")
        direction = "one => getComputedStyle(one).direction"
        for place, expected in (("h3", "rtl"), ("p.plain", "rtl"), ("pre", "ltr")):
            assert await answer.locator(place).first.evaluate(direction) == expected, place
        items = answer.locator("li")
        assert [await items.nth(at).evaluate(direction) for at in (0, 1)] == ["rtl", "ltr"]
        assert "👩‍👩‍👧‍👦 🇩🇪 é é" in await answer.inner_text()
        said = page.locator(".message.user .plain")
        assert await said.evaluate(direction) == "rtl"
        wide = "document.documentElement.scrollWidth > window.innerWidth"
        assert not await page.evaluate(wide)
