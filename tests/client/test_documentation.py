"""Every piece of Python in docs/client.md runs, against a fake backend or on the built-in model."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from localserve.client import AsyncClient
from localserve.testing import FakeBackend
from tests.server.conftest import Serve

TEXT = (Path(__file__).parents[2] / "docs" / "client.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)

ON_A_MODEL = ("localserve.serve(", "localserve.application(")


def _parameter(snippet: str) -> Any:
    on_a_model = any(call in snippet for call in ON_A_MODEL)
    return pytest.param(snippet, marks=[pytest.mark.e2e] if on_a_model else [])


@pytest.mark.parametrize("snippet", [*map(_parameter, SNIPPETS)], ids=range(len(SNIPPETS)))
async def test_snippets_run(
    snippet: str, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVE_HOME", str(tmp_path))
    async with serve(FakeBackend("Paris it is.")) as served:
        code = snippet.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{served.port}")
        names: dict[str, Any] = {"__name__": "snippet"}
        await asyncio.to_thread(exec, compile(code, "docs/client.md", "exec"), names)
    for name, value in names.items():
        if name.startswith("test_"):
            await asyncio.to_thread(value)
    if "app" in names:
        async with names["app"].router.lifespan_context(names["app"]):
            assert [route.path for route in names["app"].routes] == ["/llm"]


def test_there_are_snippets_of_every_kind() -> None:
    for needed in ("Client(", "AsyncClient(", "except", "def test_", *ON_A_MODEL):
        assert any(needed in snippet for snippet in SNIPPETS), needed


def test_every_method_is_in_the_table() -> None:
    names = [name for name, _ in inspect.getmembers(AsyncClient, inspect.isfunction)]
    for name in names:
        assert name.startswith("_") or name == "close" or f"`{name}(" in TEXT, name
