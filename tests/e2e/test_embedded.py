"""A server in one's own program, and clients of real servers, on the built-in model."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

import localserve
from localserve.client import (
    AsyncClient,
    AuthenticationFailed,
    Client,
    ClientError,
    ConnectionFailed,
    PermissionDenied,
    Retrying,
    collect,
)
from localserve.config import read_settings
from localserve.errors import ConfigInvalid, UnknownModel
from localserve.gateway.store import key_store
from localserve.testing import FakeBackend, fake_server
from tests.certificates import make_certificate
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


async def test_keys_routes_and_kept_answers_are_those_of_any_server(tmp_path: Path) -> None:
    settings = read_settings({}, {"LOCALSERVE_HOME": str(tmp_path)})
    issued = key_store(settings).create("ci", now=time.time())
    write_models(tmp_path, "auto")
    async with (
        localserve.serve(context_tokens=512, response_cache=True) as server,
        server.client() as owner,
        AsyncClient(server.url) as nobody,
        AsyncClient(server.url, api_key=issued.secret) as user,
        httpx2.AsyncClient(headers={"x-api-key": issued.secret}) as http,
    ):
        assert server.owner_key not in repr(server)
        with pytest.raises(AuthenticationFailed):
            await nobody.models()
        with pytest.raises(PermissionDenied):
            await user.loaded()
        assert [one.name for one in await owner.loaded()] == [server.model]
        body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}]}
        kept = []
        for _ in range(2):
            answer = await http.post(
                f"{server.url}/v1/chat/completions", json=body | {"temperature": 0}, timeout=60
            )
            kept.append(answer.headers["x-localserve-cache"])
        assert kept == ["miss", "hit"]
        assert answer.headers["x-localserve-route"].startswith("auto -> localserve-tiny")
        write_models(tmp_path, "quick")
        async with httpx2.AsyncClient(headers={"x-api-key": server.owner_key}) as admin:
            reloaded = await admin.post(f"{server.url}/admin/reload", json={}, timeout=60)
        assert reloaded.status_code == 200
        names = [one.name for one in await user.models()]
        assert ("quick" in names, "auto" in names) == (True, False)


def write_models(home: Path, route: str) -> None:
    """A models.toml with one route to the built-in model."""
    (home / "config").mkdir(exist_ok=True)
    text = f"[routes.{route}.models]\nlocalserve-tiny = {{}}\n"
    (home / "config" / "models.toml").write_text(text)


async def test_models_of_other_servers_are_served_as_well(tmp_path: Path) -> None:
    with fake_server(FakeBackend("From afar.")) as far:
        (tmp_path / "config").mkdir()
        entry = f'[models.far]\nengine = "openai"\nbase_url = "{far.url}/v1"\nmodel = "fake"\n'
        (tmp_path / "config" / "models.toml").write_text(entry)
        async with localserve.serve("far") as server, server.client() as client:
            assert (await client.chat("Hello")).text == "From afar."
    assert len(far.backend.requests) == 1


async def test_a_certificate_is_served_and_its_client_connects(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "server")
    tls = {"tls_cert": str(certificate), "tls_key": str(key)}
    async with localserve.serve(context_tokens=512, **tls) as server, server.client() as client:
        assert server.url.startswith("https://")
        assert await client.models()


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
