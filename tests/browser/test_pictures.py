"""The main pages as pictures, which must be within the width and small enough for a repository:
`--pictures` puts those that docs/dashboard.md shows into docs/images."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from localserve.manager import fits
from localserve.manager.fits import Look
from localserve.server.machine_memory import MachineMemory
from tests.browser.conftest import Opened
from tests.browser.demo import LARGE, SMALL, TOOLS, demo_hardware, demo_manager
from tests.browser.rig import BANDWIDTH, arguments_of
from tests.planner.recorded import GIB
from tests.server.conftest import CHAT, Serve, Served

pytestmark = pytest.mark.browser

MOST_BYTES = 150_000
DESK = {"viewport": {"width": 1120, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 800}}
DARK = {"color_scheme": "dark"}


Place = Callable[[str], Path]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a picture goes."""
    docs = Path(__file__).parents[2] / "docs"
    wanted = request.config.getoption("--pictures", default=False)
    shown = (docs / "dashboard.md").read_text("utf-8") if wanted else ""
    return lambda name: (docs / "images" if f"images/{name}" in shown else tmp_path) / name


@asynccontextmanager
async def demo(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    """With requests that have ended, and two that go on."""

    def with_own(look: Look) -> MachineMemory:
        return MachineMemory(look, lambda: 2 * GIB)

    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setattr("localserve.server.app.MachineMemory", with_own)
    monkeypatch.setattr(fits, "known_bandwidth", lambda *_: BANDWIDTH)
    machine = arguments_of(demo_hardware(tmp_path))
    async with serve(manager=demo_manager(tmp_path), **machine) as served:
        ask = served.client.post
        for model in (LARGE, SMALL, LARGE):
            await ask(CHAT, json=body(model, "How do I count words?"))
        await ask(CHAT, json={"model": LARGE})
        long = [asyncio.create_task(ask(CHAT, json=body(LARGE, f"long {at}"))) for at in (1, 2)]
        try:
            yield served
        finally:
            for one in long:
                one.cancel()
                with contextlib.suppress(asyncio.CancelledError, httpx2.HTTPError):
                    await one


def body(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


async def show_now(page: Any) -> None:
    await page.get_by_text("other programs").first.wait_for()
    await page.get_by_role("button", name="Cancel").first.wait_for()
    await page.wait_for_timeout(2500)  # some points of the curve


async def show_models(page: Any) -> None:
    await page.get_by_label(f"Why: the plan of {LARGE}").first.click()
    await page.locator(".frontier").wait_for()


async def show_chat(page: Any) -> None:
    await page.get_by_label("Model", exact=True).select_option(LARGE)
    await say(page, "How do I count the words of a large file in Python?")
    await page.get_by_text("tokens/s").first.wait_for()
    await page.get_by_text("Tools", exact=True).click()
    await page.get_by_label("Tools, a JSON list").fill(TOOLS)
    await page.get_by_text("Tools", exact=True).click()
    await say(page, "And how is the weather in Lisbon?")
    await page.get_by_label("Result of get_weather").fill("24 degrees, no clouds")
    await page.evaluate("window.scrollTo(0, document.body.scrollHeight)")


async def say(page: Any, text: str) -> None:
    await page.get_by_label("Message", exact=True).fill(text)
    await page.keyboard.press("Enter")


async def show_connect(page: Any) -> None:
    await page.get_by_label("Filter clients").fill("aider")
    await page.locator("summary").get_by_text("Aider").click()


SHOWS = {"now": show_now, "models": show_models, "chat": show_chat, "connect": show_connect}


@pytest.mark.parametrize("name", SHOWS)
async def test_a_picture_of_each_main_page(
    serve: Serve,
    opened: Opened,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: Place,
    name: str,
) -> None:
    kinds = {"": DESK, "-dark": DESK | DARK, "-phone": PHONE, "-phone-dark": PHONE | DARK}
    async with demo(serve, tmp_path, monkeypatch) as served:
        for kind, options in kinds.items():
            async with opened(served, name, **options) as page:
                await SHOWS[name](page)
                path = place(f"dashboard-{name}{kind}.png")
                await page.screenshot(path=path, animations="disabled", caret="hide")
                wide = "document.documentElement.scrollWidth > window.innerWidth"
                assert not await page.evaluate(wide), path.name
                assert path.stat().st_size < MOST_BYTES, path.name
