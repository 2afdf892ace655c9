"""The page of models in a real browser: what fits and why, fetching, loading, deleting."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localserve.catalog.registry import SHIPPED_FILE
from localserve.catalog.routes import Route, RouteTable, Target
from localserve.config import Settings
from localserve.manager import fits
from tests.browser.conftest import Opened
from tests.browser.rig import (
    BANDWIDTH,
    arguments_of,
    disk_server,
    disk_settings,
    hardware_of,
)
from tests.catalog.hub_server import Hub, serve_hub
from tests.manager.rig import Rig
from tests.server.conftest import Serve, until
from tests.server.test_ollama import NEWS, FakeLibrary, with_library

pytestmark = pytest.mark.browser

REPO = "owner/tiny-GGUF"
CONTENT = SHIPPED_FILE.with_name("builtin.gguf").read_bytes()
HALF = len(CONTENT) // 2


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories[REPO] = {"tiny-Q8_0.gguf": CONTENT}
        yield hub


@pytest.fixture
def settings(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOME", str(tmp_path))
    return disk_settings(tmp_path, hub.url)


def item(page: Any, name: str) -> Any:
    return page.locator(".item").filter(has=page.get_by_role("heading", name=name, exact=True))


async def test_each_model_has_its_verdict_and_why_shows_the_plan_and_the_frontier(
    serve: Serve, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "known_bandwidth", lambda *_: BANDWIDTH)
    machine = arguments_of(hardware_of(tmp_path))
    async with serve(**machine) as served, opened(served, "models") as page:
        verdict = item(page, "qwen3-8b").get_by_text("fits: Q8_0 in GPU")
        await verdict.wait_for()
        assert "tokens/s" in await verdict.inner_text()
        await item(page, "gpt-oss-120b").get_by_text("too large").wait_for()
        await page.get_by_label("Unload fake").click()
        await item(page, "fake").get_by_text("cannot run").wait_for()
        await item(page, "fake").get_by_text("There is no file fake.gguf.").wait_for()
        summary = item(page, "qwen3-8b").get_by_label("Why: the plan of qwen3-8b")
        await summary.focus()
        await page.keyboard.press("Enter")
        plan = item(page, "qwen3-8b").locator(".plan")
        await plan.get_by_text(re.compile(r"^Q\w+ fits in GPU, .* to spare\.")).wait_for()
        assert await plan.get_by_role("img", name="CUDA0: weights").count() == 1
        picture = plan.get_by_role("img", name="the longest context that fits")
        assert await picture.locator("rect").count() > 4
        assert await picture.locator(".best").count() > 1
        await plan.get_by_text("As a table").click()
        rows = plan.get_by_role("table").locator("tbody tr")
        assert await rows.count() == await picture.locator("text.axis[x='0']").count()
        assert "*" in await plan.get_by_role("table").inner_text()
        await item(page, "gpt-oss-120b").get_by_text("Why", exact=True).click()
        large = item(page, "gpt-oss-120b").locator(".plan")
        await large.get_by_text(" short. ").wait_for()
        assert await large.locator(".limit").count() == 1
        assert await large.locator(".frontier").count() == 0  # there is nothing to choose
        await page.get_by_label("only what fits").check()
        await item(page, "gpt-oss-120b").wait_for(state="detached")
        assert await item(page, "qwen3-8b").locator(".plan").is_visible()


async def test_the_page_does_not_wait_for_verdicts(
    serve: Serve, opened: Opened, tmp_path: Path
) -> None:
    machine = arguments_of(hardware_of(tmp_path))
    held = asyncio.Event()
    look = machine["arguments"]["look"]

    async def slow() -> Any:
        await held.wait()
        return await look()

    async with serve(arguments={"look": slow}) as served, opened(served, "models") as page:
        await item(page, "qwen3-8b").get_by_text("judging…").wait_for()
        held.set()
        await item(page, "qwen3-8b").get_by_text("fits:").wait_for()


async def test_a_download_is_paused_goes_on_and_is_served_loaded_and_deleted(
    serve: Serve, opened: Opened, settings: Settings, hub: Hub
) -> None:
    hub.hold_after_bytes = [len(CONTENT), HALF]  # the header comes whole
    manager, library = disk_server(settings)
    app = {"manager": manager, "arguments": {"library": library}}
    async with serve(**app) as served, opened(served, "models") as page:
        await page.get_by_label("Model to fetch").fill(REPO)
        await page.keyboard.press("Enter")
        await page.get_by_role("status").get_by_text("2.3 MiB of 4.5 MiB").wait_for()
        progress = page.get_by_label(f"fetching {REPO}", exact=True)
        assert await progress.evaluate("one => one.value") == HALF
        await page.get_by_label(f"Pause fetching {REPO}").click()
        await page.get_by_role("status").get_by_text("paused at 2.3 MiB of 4.5 MiB").wait_for()
        hub.released.set()
        await page.get_by_label(f"Go on fetching {REPO}").click()
        await page.get_by_role("status").get_by_text("here", exact=True).wait_for()
        *_, last = [one for one in hub.requests if "bytes=" in one]
        assert int(last.rpartition("bytes=")[2].rstrip("-")) >= HALF
        await page.get_by_label("Load tiny-Q8_0").click()
        await page.get_by_label("Unload tiny-Q8_0").wait_for()
        await until(lambda: "tiny-Q8_0" in {one.name for one in manager.models()})
        await page.get_by_label("Make default tiny-Q8_0").click()
        await item(page, "tiny-Q8_0").get_by_text("default", exact=True).wait_for()
        await page.get_by_label("Delete tiny-Q8_0").click()  # nobody confirms
        assert await item(page, "tiny-Q8_0").count() == 1
        assert await item(page, "localserve-tiny").count() == 1
        assert await page.get_by_label("Delete localserve-tiny").count() == 0, "it is built in"
        page.on("dialog", accept)
        await page.get_by_label("Delete tiny-Q8_0").click()
        await page.get_by_role("alert").get_by_text("Let another one be that first").wait_for()
        await page.get_by_label("Make default localserve-tiny").click()
        await item(page, "localserve-tiny").get_by_text("default", exact=True).wait_for()
        await page.get_by_label("Delete tiny-Q8_0").click()
        await item(page, "tiny-Q8_0").wait_for(state="detached")
        assert list(settings.models_dir.rglob("*.gguf")) == []


async def test_a_route_is_no_model_of_the_disk(serve: Serve, opened: Opened) -> None:
    routes = RouteTable((Route("auto", "order", (Target("fake"),)),))
    async with serve(arguments={"routes": routes}) as served, opened(served, "models") as page:
        await item(page, "fake").wait_for()
        assert await item(page, "auto").count() == 0


async def accept(dialog: Any) -> None:
    await dialog.accept()


def parts(settings: Settings) -> list[Path]:
    return list(settings.models_dir.rglob("*.partial"))


async def test_a_cancelled_download_leaves_nothing_behind(
    serve: Serve, opened: Opened, settings: Settings, hub: Hub
) -> None:
    hub.hold_after_bytes = [len(CONTENT), HALF]
    manager, library = disk_server(settings)
    app = {"manager": manager, "arguments": {"library": library}}
    async with serve(**app) as served, opened(served, "models") as page:
        await page.get_by_label("Model to fetch").fill(REPO)
        await page.keyboard.press("Enter")
        await page.get_by_role("status").get_by_text("2.3 MiB of 4.5 MiB").wait_for()
        assert len(parts(settings)) == 1
        await page.get_by_label(f"Cancel fetching {REPO}").click()
        await until(lambda: library._last[REPO].news.ended)  # else all of it could come before
        hub.released.set()
        await page.get_by_label(f"Cancel fetching {REPO}").wait_for(state="detached")
        assert list(settings.models_dir.iterdir()) == []


async def test_a_download_that_a_server_ended_says_so_and_goes_on_with_the_next_one(
    serve: Serve, opened: Opened, settings: Settings, hub: Hub
) -> None:
    hub.hold_after_bytes = [len(CONTENT), HALF]
    manager, library = disk_server(settings)
    app = {"manager": manager, "arguments": {"library": library}}
    async with serve(**app) as first, opened(first, "models") as page:
        await page.get_by_label("Model to fetch").fill(REPO)
        await page.keyboard.press("Enter")
        await page.get_by_role("status").get_by_text("2.3 MiB of 4.5 MiB").wait_for()
        first.server.should_exit = True
        await page.get_by_text("is shutting down. It got as far as 2.3 MiB of 4.5 MiB.").wait_for()
        hub.released.set()
        manager, library = disk_server(settings)
        async with serve(
            manager=manager, arguments={"library": library}, listen_on=first.port
        ) as _:
            await page.get_by_text("connected").wait_for()
            await page.get_by_label(f"Go on fetching {REPO}").click()
            await page.get_by_role("status").get_by_text("here", exact=True).wait_for()


async def test_a_pull_that_fails_says_why(serve: Serve, opened: Opened) -> None:
    library = FakeLibrary(NEWS)
    async with serve(**with_library(library)) as served, opened(served, "models") as page:
        await page.get_by_role("button", name="Fetch qwen3-0.6b").click()
        await page.get_by_role("status").get_by_text("here", exact=True).wait_for()
        assert library.pulled == ["qwen3-0.6b"]
        library.failure = RuntimeError("a bug")
        await page.get_by_role("button", name="Fetch qwen3-1.7b").click()
        await page.get_by_text("Something failed inside the server").wait_for()


async def test_models_are_loaded_pinned_and_unloaded(serve: Serve, opened: Opened) -> None:
    rig = Rig({"chat": 60, "code": 30}, 100, context_tokens=0)
    async with serve(manager=rig.manager) as served, opened(served, "models") as page:
        await page.get_by_role("button", name="Unload chat").click()
        await page.get_by_role("button", name="Load chat").click()
        await page.get_by_role("button", name="Pin chat").click()
        await page.get_by_role("button", name="Unpin chat").wait_for()
        assert rig.loaded() == {"chat"}
        assert rig.manager.report()[0].pinned
