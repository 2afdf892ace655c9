"""The dashboard in a real browser: each page, a conversation, hostile answers, keys, a restart."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from localserve.chat import Message
from localserve.gateway.store import KeyStore
from localserve.manager.fits import Look
from localserve.planner.usage import DeviceUsage, MemoryUsage
from localserve.server.machine_memory import MachineMemory
from localserve.testing import FakeBackend, Piece, Thought
from tests.browser.conftest import Opened
from tests.browser.rig import arguments_of, hardware_of, loaded_manager
from tests.planner.recorded import GIB
from tests.server.conftest import CHAT, HELLO, Serve, until

pytestmark = pytest.mark.browser

PHONE = {"viewport": {"width": 360, "height": 740}}
PAGES = ("now", "models", "chat", "connect", "keys", "requests", "settings")

HOSTILE = """<script>window.executed = 1</script>
<img src=x onerror="window.executed = 2"> <svg onload="window.executed = 3">
[click](javascript:window.executed=4) [data](data:text/html,<script>executed=5</script>)
![x](http://evil.example/steal.png) <iframe srcdoc="<script>parent.executed=6</script>"></iframe>

```html
<script>window.executed = 7</script>
```
# <b onmouseover="window.executed=8">Heading</b>
"""


def words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


async def say(page: Any, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


@pytest.mark.parametrize("options", [{}, PHONE, {"color_scheme": "dark"}], ids=str)
async def test_each_page_shows_what_it_is_about_within_the_width(
    serve: Serve, opened: Opened, options: dict[str, Any]
) -> None:
    shown = {
        "now": "models loaded",
        "models": "In the catalog",
        "chat": "Nothing was said yet.",
        "connect": "OPENAI_BASE_URL",
        "keys": "There are none",
        "requests": "invalid_schema",
        "settings": "LOCALSERVE_MODELS_DIR",
    }
    async with serve() as served:
        await served.client.post(CHAT, json={})
        async with opened(served, "now", **options) as page:
            for name in PAGES:
                await page.get_by_role("navigation").get_by_text(name.capitalize()).click()
                if name == "connect":
                    await page.get_by_text("any program that reads").click()
                await page.get_by_text(shown[name]).first.wait_for()
                wide = "document.documentElement.scrollWidth > window.innerWidth"
                assert not await page.evaluate(wide), name


async def test_an_answer_streams_with_its_reasoning_folded_and_its_figures(
    serve: Serve, opened: Opened
) -> None:
    def script(messages: Sequence[Message]) -> list[Piece]:
        text = f"**Bold** {len(messages)}\n\n```python\nprint(1)\n```\n"
        return [Thought("I think so. "), *words(text)]

    backend = FakeBackend(script)
    async with serve(backend) as served, opened(served, "chat") as page:
        await page.get_by_text("System prompt and sampling").click()
        await page.get_by_label("System prompt", exact=True).fill("Be brief.")
        await page.get_by_label("Temperature").fill("0.5")
        await say(page, "Hello 🦙 שלום")
        await page.get_by_text("tokens/s").wait_for()
        log = page.get_by_role("log")
        assert await log.locator("strong").inner_text() == "Bold"
        assert await log.locator("pre").inner_text() == "print(1)"
        assert "0 of them cached" in await log.inner_text()
        assert not await page.get_by_text("I think so.").is_visible()
        await log.get_by_text("Reasoning").click()
        assert await page.get_by_text("I think so.").is_visible()
        asked: Any = backend.requests[-1]
        assert [one.role for one in asked.messages] == ["system", "user"]
        assert asked.messages[1].content == "Hello 🦙 שלום"
        assert asked.generation.sampling.temperature == 0.5
        await page.get_by_role("button", name="Retry").click()
        await until(lambda: len(backend.requests) == 2)
        await page.get_by_text("tokens/s").wait_for()
        assert await log.locator(".message").count() == 2


async def test_nothing_that_a_model_writes_is_executed_or_fetched(
    serve: Serve, opened: Opened
) -> None:
    def script(messages: Sequence[Message]) -> list[Piece]:
        return [Thought(HOSTILE), *words(HOSTILE)]

    backend = FakeBackend(script)
    async with serve(backend) as served, opened(served, "chat") as page:
        await say(page, HOSTILE)
        await page.get_by_text("tokens/s").wait_for()
        log = page.get_by_role("log")
        assert "<img src=x" in await log.inner_text()
        await log.get_by_text("Heading").last.hover()
        assert await log.locator("img, script, svg, iframe, b").count() == 0
        links = "links => links.map(link => link.href)"
        assert await log.locator("a").evaluate_all(links) == ["http://evil.example/steal.png"]
        assert await page.evaluate("window.executed") is None


async def test_a_huge_message_and_a_huge_answer_on_one_line_are_shown(
    serve: Serve, opened: Opened
) -> None:
    backend = FakeBackend(lambda messages: ["`*a [" * 60_000, " end"], context_tokens=1 << 20)
    async with serve(backend) as served, opened(served, "chat") as page:
        await say(page, "word " * 200_000)
        await page.get_by_text("tokens/s").wait_for()
        log = page.get_by_role("log")
        assert (await log.inner_text()).count("`*a [") == 60_000
        assert "200,000 prompt tokens" in await log.inner_text()


async def test_the_policy_stops_markup_even_where_a_script_would_make_it(
    serve: Serve, opened: Opened
) -> None:
    async with serve() as served, opened(served, "chat") as page:
        made = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made' }"
        assert await page.evaluate(f"{made} catch (error) {{ return error.name }} }})()") == (
            "TypeError"
        )


async def test_an_answer_is_stopped_and_a_failure_is_shown(serve: Serve, opened: Opened) -> None:
    backend = FakeBackend("word " * 3000, token_delay_seconds=0.01)
    async with serve(backend) as served, opened(served, "chat") as page:
        await say(page, "Go on")
        await page.get_by_text("word word").wait_for()
        await page.get_by_role("button", name="Stop").click()
        await page.get_by_text("Stopped.").wait_for()
        await until(lambda: backend.cancelled == 1)
        await say(page, "too long " * 5000)
        await page.get_by_role("log").locator(".problem").last.get_by_text("4096").wait_for()


async def test_a_conversation_is_copied_as_curl_and_as_python_that_runs(
    serve: Serve, opened: Opened
) -> None:
    permissions = {"permissions": ["clipboard-read", "clipboard-write"]}
    async with serve() as served, opened(served, "chat", **permissions) as page:
        await page.get_by_label("Message", exact=True).fill('It\'s "quoted"\n$HOME')
        await page.get_by_role("button", name="Copy as Python").click()
        await page.get_by_role("button", name="Copied").wait_for()
        text = await page.evaluate("navigator.clipboard.readText()")
        assert await output_of(sys.executable, "-c", text) == "Hello there!"
        await page.get_by_role("button", name="Copy as curl").click()
        await page.get_by_role("button", name="Copied").last.wait_for()
        await until_copied(page, "curl")
        shell = (await page.evaluate("navigator.clipboard.readText()")).replace(
            "curl -N", "printf %s"
        )
        body = json.loads((await output_of("sh", "-c", shell)).partition("-d")[2])
        assert body["messages"][-1]["content"] == 'It\'s "quoted"\n$HOME'


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode()


async def until_copied(page: Any, text: str) -> None:
    await page.wait_for_function(
        f"navigator.clipboard.readText().then((text) => text.startsWith('{text}'))"
    )


async def test_a_running_request_is_seen_and_cancelled(serve: Serve, opened: Opened) -> None:
    backend = FakeBackend("word " * 3000, token_delay_seconds=0.01)
    async with serve(backend) as served, opened(served, "now") as page:
        asking = asyncio.create_task(served.client.post(CHAT, json=HELLO))
        await page.get_by_role("button", name="Cancel").click()
        assert (await asking).json()["error"]["code"] == "request_cancelled"
        await page.get_by_text("request_cancelled").wait_for()


async def test_where_keys_exist_one_is_asked_for_and_kept_in_the_tab(
    serve: Serve, opened: Opened, tmp_path: Path
) -> None:
    admin = KeyStore(tmp_path / "keys.sqlite").create("me", now=0.0, scope="admin").secret
    async with serve(data_dir=tmp_path) as served, opened(served, "now") as page:
        await page.get_by_label("API key").fill("wrong")
        await page.keyboard.press("Enter")
        await page.get_by_label("API key").fill(admin)
        await page.keyboard.press("Enter")
        await page.get_by_text("models loaded").wait_for()
        await page.reload()
        await page.get_by_text("models loaded").wait_for()
        assert await page.evaluate("localStorage.length") == 0


async def test_a_key_that_may_only_ask_models_has_the_chat_and_no_more(
    serve: Serve, opened: Opened, tmp_path: Path
) -> None:
    asking = KeyStore(tmp_path / "keys.sqlite").create("me", now=0.0).secret
    async with serve(data_dir=tmp_path) as served, opened(served, "now") as page:
        await page.get_by_label("API key").fill(asking)
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="no access").wait_for()
        await page.get_by_role("main").get_by_text("may ask models, not change").wait_for()
        await page.get_by_role("navigation").get_by_text("Chat").click()
        await page.get_by_role("option", name="fake").wait_for(state="attached")
        await say(page, "Hello")
        await page.get_by_text("Hello there!").wait_for()


async def test_the_first_key_is_an_administrators_and_the_page_goes_on_with_it(
    serve: Serve, opened: Opened, tmp_path: Path
) -> None:
    async with serve(data_dir=tmp_path) as served, opened(served, "keys") as page:
        await page.get_by_text("There are none").wait_for()
        await page.get_by_label("Name").fill("mine")
        await page.get_by_role("button", name="Make it").click()
        await page.get_by_text("it is shown this once").wait_for()
        await page.get_by_role("button", name="Revoke mine").wait_for()
        assert (await served.client.get("/admin/keys")).status_code == 401
        assert await page.locator("dialog").count() == 0


async def test_each_device_shows_who_holds_its_memory_and_what_was_predicted(
    serve: Serve, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_own(look: Look) -> MachineMemory:
        return MachineMemory(look, lambda: 5 * GIB)

    monkeypatch.setattr("localserve.server.app.MachineMemory", with_own)
    predicted, measured = usage(3 * GIB), usage(4 * GIB)
    backend = FakeBackend()
    backend.memory = measured
    manager = loaded_manager(backend, predicted, room_bytes=30 * GIB)
    machine = arguments_of(hardware_of(tmp_path))
    async with serve(manager=manager, **machine) as served, opened(served, "now") as page:
        ram = page.get_by_role("img", name="RAM: ", exact=False)
        await page.get_by_text("other programs 7.0 GiB").wait_for()
        text = str(await ram.get_attribute("aria-label"))
        assert text == (
            "RAM: weights 4.0 GiB, context (KV) 256 MiB, compute 128 MiB,"
            " the server itself 640 MiB, other programs 7.0 GiB, free 36.0 GiB"
        )
        assert "context (KV) 512 MiB" in str(
            await page.get_by_role("img", name="CUDA0: ").get_attribute("aria-label")
        )
        await page.get_by_text("48.0 GiB; models may have").wait_for()
        await page.get_by_role("img", name="predicted of fake: weights 3.0 GiB").wait_for()
        await page.get_by_text("4.9 GiB (+25.8 %)").wait_for()


def usage(weights_bytes: int) -> MemoryUsage:
    ram = DeviceUsage("CPU", weights_bytes, GIB // 4, GIB // 8)
    return MemoryUsage((ram, DeviceUsage("CUDA0", 0, GIB // 2, 0)), 0)
