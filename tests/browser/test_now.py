"""The page tells what the server does as it happens, for as long as somebody looks at it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from localserve.gateway.paths import EVENTS_PATH
from localserve.server import activity_events
from localserve.testing import FakeBackend
from tests.browser.conftest import Opened
from tests.server.conftest import CHAT, HELLO, Serve, Served, until

pytestmark = pytest.mark.browser


def endless() -> FakeBackend:
    return FakeBackend("word " * 3000, token_delay_seconds=0.01)


@asynccontextmanager
async def asking(served: Served) -> AsyncIterator[None]:
    """A request runs within the block; then its client leaves."""
    one = asyncio.create_task(served.client.post(CHAT, json=HELLO))
    try:
        yield
    finally:
        one.cancel()
        with contextlib.suppress(asyncio.CancelledError, httpx2.HTTPError):
            await one


def listeners() -> int:
    """How many are answered at this moment."""
    coroutines: list[Any] = [one.get_coro() for one in asyncio.all_tasks()]
    return sum(one.__qualname__ == "ActivityEvents._respond" for one in coroutines)


async def test_a_running_request_appears_and_disappears_without_a_reload(
    serve: Serve, opened: Opened
) -> None:
    async with serve(endless()) as served, opened(served, "now") as page:
        await page.get_by_text("Nothing is being answered.").wait_for()
        await page.evaluate("window.same = true")
        running = page.get_by_role("region", name="Running requests")
        async with asking(served):
            await running.get_by_text("/v1/chat/completions").wait_for()
            await page.locator(".tile", has_text="running").get_by_text("1").wait_for()
        await running.get_by_text("Nothing is being answered.").wait_for()
        recent = page.get_by_role("region", name="Recent requests")
        await recent.get_by_text("client left").wait_for()
        assert await page.evaluate("window.same")


async def test_a_request_that_is_cancelled_is_gone_at_once(serve: Serve, opened: Opened) -> None:
    async with serve(endless()) as served, opened(served, "now") as page, asking(served):
        await page.get_by_role("button", name="Cancel").click()
        await page.get_by_text("Nothing is being answered.").wait_for()
        await page.get_by_text("request_cancelled").wait_for()


async def test_a_tab_that_nobody_looks_at_asks_nothing(serve: Serve, opened: Opened) -> None:
    async with serve(endless()) as served, opened(served, "now") as page:
        await page.get_by_text("Nothing is being answered.").wait_for()
        await until(lambda: listeners() == 1)
        await hide(page, True)
        await until(lambda: listeners() == 0)
        served.records.clear()
        async with asking(served):
            await page.wait_for_timeout(2500)
            assert listeners() == 0
            assert not any(one.path == EVENTS_PATH for one in served.records)
            assert await page.get_by_text("Nothing is being answered.").is_visible()
            await hide(page, False)
            await page.get_by_role("button", name="Cancel").wait_for()
            assert listeners() == 1


async def hide(page: Any, hidden: bool) -> None:
    """As the browser tells it; playwright keeps all its tabs in front."""
    await page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


async def test_one_tab_listens_once_and_no_more_when_it_is_closed(
    serve: Serve, opened: Opened
) -> None:
    async with serve() as served, opened(served, "now") as page:
        other = await page.context.new_page()
        await other.goto(f"http://127.0.0.1:{served.port}/")
        await other.get_by_text("models loaded").wait_for()
        for name in ("Models", "Chat", "Requests", "Now"):
            await page.get_by_role("navigation").get_by_text(name).click()
            await page.get_by_role("heading", name=name, exact=True).wait_for()
        await until(lambda: listeners() == 2)
        await other.close()
        await until(lambda: listeners() == 1)
        await page.goto("about:blank")
        await until(lambda: listeners() == 0)


async def test_a_server_that_is_gone_is_asked_after_growing_pauses(
    serve: Serve, opened: Opened
) -> None:
    async with serve() as served, opened(served, "now") as page:
        await page.clock.install()
        await page.reload()
        await page.get_by_text("connected").wait_for()
        served.server.stop()
        await page.get_by_text("offline, reconnecting").wait_for()
        await page.clock.pause_at("2100-01-01")
        pauses = [await pause(page) for _ in range(6)]
        assert 1 <= pauses[0] < pauses[-1]
        assert pauses[-1] == pytest.approx(15, abs=1)


async def pause(page: Any) -> int:
    """The seconds of the page's own clock until it asks again in vain."""
    asked: list[str] = []
    page.on("requestfailed", lambda one: asked.append(one.url))
    for seconds in range(1, 60):
        await page.clock.run_for(1000)
        await page.evaluate("fetch('/nothing').catch(() => {})")
        if any(url.endswith(EVENTS_PATH) for url in asked):
            return seconds
    raise AssertionError("it does not ask any more")


async def test_a_connection_that_fell_silent_is_opened_anew(
    serve: Serve, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_events, "SILENCE_SECONDS", 3600.0)
    async with serve() as served, opened(served, "now") as page:
        await page.clock.install()
        await page.reload()
        await page.get_by_text("connected").wait_for()
        await until(lambda: listeners() == 1)
        served.records.clear()
        await page.clock.run_for(16_000)
        await until(lambda: EVENTS_PATH in [one.path for one in served.records])
        await page.clock.run_for(2_000)
        await until(lambda: listeners() == 1)
        await page.get_by_text("connected").wait_for()


async def test_where_an_answer_ends_by_itself_the_page_goes_on_without_a_word(
    serve: Serve, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in another program's server, which tells nobody that it ends."""
    monkeypatch.setattr(activity_events, "draining_of", lambda scope: None)
    monkeypatch.setattr(activity_events, "UNTOLD_SECONDS", 1.5)
    async with serve() as served, opened(served, "now") as page:
        await page.get_by_text("connected").wait_for()
        await page.evaluate(
            """() => {
                window.said = [];
                const link = document.getElementById("link");
                new MutationObserver(() => window.said.push(link.textContent))
                    .observe(link, { childList: true, subtree: true, characterData: true });
            }"""
        )
        served.records.clear()
        await until(lambda: [one.path for one in served.records].count(EVENTS_PATH) >= 2)
        await served.client.post(CHAT, json={}, headers={"x-request-id": "seen"})
        await page.get_by_text("invalid_schema").wait_for()
        assert await page.evaluate("window.said") == []
