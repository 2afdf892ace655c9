"""A server in one's own program, and clients of real servers, on the built-in model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

import localserve
from localserve.client import AsyncClient, Client, ClientError, ConnectionFailed, Retrying, collect
from localserve.errors import ConfigInvalid, UnknownModel
from tests.e2e.conftest import Server

pytestmark = pytest.mark.e2e

QUESTION = "What is the capital of France?"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVE_HOME", str(tmp_path))


async def test_a_program_serves_for_as_long_as_a_block_lasts() -> None:
    async with localserve.serve(context_tokens=512) as server, server.client() as client:
        answer = await client.chat(QUESTION, temperature=0)
        assert "Paris" in answer.text
        (model,) = [one for one in await client.loaded() if one.state == "loaded"]
        assert (model.name, model.context_tokens) == (server.model, 512)
    async with AsyncClient(server.url, retrying=Retrying(attempts=1)) as client:
        with pytest.raises(ConnectionFailed):
            await client.models()


async def test_the_application_is_mounted_in_another_one() -> None:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with localserve.application() as llm:
            app.mount("/llm", llm)
            yield

    outer = Starlette(lifespan=lifespan)
    transport = httpx2.ASGITransport(app=outer)
    async with (
        outer.router.lifespan_context(outer),
        AsyncClient("http://localhost/llm", transport=transport) as client,
    ):
        stream = await client.stream(QUESTION, temperature=0)
        answer = collect([chunk async for chunk in stream])
    assert "Paris" in answer.text


async def test_what_cannot_be_served_says_so_and_leaves_nothing() -> None:
    with pytest.raises(UnknownModel):
        async with localserve.serve("no-such-model"):
            pass
    with pytest.raises(TypeError, match="'contxt' is no setting"):
        async with localserve.serve(contxt=1):
            pass
    with pytest.raises(ConfigInvalid, match="API key"):
        async with localserve.serve(host="0.0.0.0"):
            pass


def test_a_client_of_a_real_server(server: Server) -> None:
    with Client(server.url) as client:
        assert "localserve-tiny" in [model.name for model in client.models()]
        answer = client.chat(QUESTION, temperature=0)
        with client.stream(QUESTION, temperature=0) as stream:
            streamed = collect(stream)
        with pytest.raises(ClientError) as unknown:
            client.chat(QUESTION, model="no-such-model")
    assert "Paris" in answer.text
    assert (streamed.text, streamed.finish_reason) == (answer.text, "stop")
    assert answer.usage.completion_tokens > 0
    assert "no-such-model" in str(unknown.value)


def test_a_client_asks_what_fits() -> None:
    with Client() as client:
        fit = client.fit("localserve-tiny", offline=True)
    assert fit.fits
