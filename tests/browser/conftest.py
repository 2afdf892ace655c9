"""A real browser, Debian's Chromium, driven by playwright. Run by `scripts/test --browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from tests.server.conftest import Served, serve

__all__ = ["serve"]

Opened = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def opened() -> Opened:
    """`async with opened(served, "chat") as page`: a page of the dashboard; it fails where a
    script fails, there or in another tab, or where anything is asked of another host. `options`
    are the context's."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium on the PATH: apt-get install chromium")
    api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

    @asynccontextmanager
    async def open_page(served: Served, name: str, **options: Any) -> AsyncIterator[Any]:
        home = f"http://127.0.0.1:{served.port}"
        problems: list[str] = []

        def check_origin(request: Any) -> None:
            if not request.url.startswith(f"{home}/"):
                problems.append(f"asked {request.url}")

        async with api.async_playwright() as playwright:
            as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = await playwright.chromium.launch(executable_path=chromium, args=as_root)
            context = await browser.new_context(**options)
            context.set_default_timeout(20_000)
            context.on("weberror", lambda one: problems.append(str(one.error)))
            context.on("request", check_origin)
            page = await context.new_page()
            await page.goto(f"{home}/#{name}")
            yield page
            await browser.close()
        assert problems == []

    return open_page


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="Put screenshots into docs/images.")
