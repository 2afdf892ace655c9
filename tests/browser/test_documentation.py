"""The pages of the documentation, opened from the disk in a real browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parent.parent.parent
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def site() -> Path:
    pytest.importorskip("zensical", reason="zensical is not installed")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ROOT / "build" / "docs"


@pytest.fixture
async def page() -> AsyncIterator[Any]:
    """A phone's page in the dark; it fails where anything is asked of a host."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on the PATH: apt-get install chromium")
    api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    problems: list[str] = []

    def check(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            problems.append(f"asked {request.url}")

    async with api.async_playwright() as playwright:
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=chromium, args=as_root)
        context = await browser.new_context(viewport=PHONE, color_scheme="dark")
        opened = await context.new_page()
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("request", check)
        yield opened
        await browser.close()
    assert problems == []


def addresses(site: Path) -> list[str]:
    return [path.as_uri() for path in sorted(site.rglob("*.html"))]


async def test_no_page_is_wider_than_a_phone(site: Path, page: Any) -> None:
    for address in addresses(site):
        await page.goto(address)
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], address


async def test_the_page_is_dark_where_the_system_is(site: Path, page: Any) -> None:
    await page.goto((site / "index.html").as_uri())
    colour = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(")[:-1].split(","))
    assert max(red, green, blue) < 64


async def test_the_search_finds_a_page_without_a_network(site: Path, page: Any) -> None:
    await page.goto((site / "index.html").as_uri())
    await page.keyboard.press("Control+k")
    await page.locator("input:focus").fill("quantization")
    await page.get_by_text("mean less memory and quicker tokens").first.wait_for()
