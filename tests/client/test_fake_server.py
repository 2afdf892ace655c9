"""The server without a model that users' own tests can have."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import openai
import pytest

from localserve.client import (
    AsyncClient,
    AuthenticationFailed,
    Client,
    ConnectionFailed,
    RateLimited,
    Retrying,
    Unavailable,
)
from localserve.errors import ConfigInvalid, Overloaded
from localserve.testing import FakeBackend, fake_server

ONCE = Retrying(attempts=1)
KEY = "a-key-of-mine-for-tests"


def test_a_test_without_a_loop_asks_it_and_sees_what_came() -> None:
    backend = FakeBackend(lambda messages: f"You said {messages[-1].content}.", name="qwen3-8b")
    with fake_server(backend) as server, server.client() as client:
        assert client.chat("Hello", model="qwen3-8b").text == "You said Hello."
        assert [one.name for one in client.models()] == ["qwen3-8b"]
    assert backend.requests[0].messages[-1].content == "Hello"  # type: ignore[union-attr]


async def test_a_test_with_a_loop_asks_it_too() -> None:
    with fake_server() as server:
        async with server.async_client() as client:
            assert (await client.chat("Hello")).text == "Hello there!"


def test_other_clients_ask_it_by_its_address() -> None:
    with fake_server(FakeBackend("Paris.")) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none")
        with client:
            answer = client.chat.completions.create(
                model="", messages=[{"role": "user", "content": "The capital of France?"}]
            )
    assert answer.choices[0].message.content == "Paris."


def test_settings_are_those_of_a_server() -> None:
    with (
        fake_server(api_key=KEY, requests_per_minute=1) as server,
        server.client() as client,
        Client(server.url) as nobody,
        Client(server.url, api_key=KEY, retrying=ONCE) as again,
    ):
        assert client.models()
        with pytest.raises(AuthenticationFailed):
            nobody.models()
        with pytest.raises(RateLimited) as limited:
            again.models()
    assert limited.value.retry_after_seconds


def test_it_fails_as_it_is_told() -> None:
    backend = FakeBackend(failure=Overloaded("9 requests wait.", retry_after_seconds=3))
    with (
        fake_server(backend) as server,
        Client(server.url, retrying=ONCE) as client,
        pytest.raises(Unavailable, match="9 requests wait") as busy,
    ):
        client.chat("Hello")
    assert (busy.value.code, busy.value.retry_after_seconds) == ("overloaded", 3)


def test_nothing_of_it_is_left() -> None:
    before = set(threading.enumerate())
    with fake_server() as server:
        assert set(threading.enumerate()) > before
    assert {one.name for one in set(threading.enumerate()) - before} & {"fake server"} == set()
    with Client(server.url, retrying=ONCE) as client, pytest.raises(ConnectionFailed):
        client.models()


def test_what_the_user_has_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALSERVE_API_KEY", KEY)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "models.toml").write_text("[nonsense")
    with fake_server() as server, Client(server.url) as client:
        assert client.models()


def test_what_cannot_be_served_is_said_at_once() -> None:
    with (
        fake_server() as server,
        pytest.raises(ConfigInvalid, match="in use"),
        fake_server(port=int(server.url.rpartition(":")[2])),
    ):
        pass
    with (
        pytest.raises(ConfigInvalid, match="requests_per_minute"),
        fake_server(requests_per_minute="many"),
    ):
        pass


async def test_a_stream_that_is_never_read_does_not_hold_up_the_end() -> None:
    backend = FakeBackend("word " * 100, token_delay_seconds=3600)
    with fake_server(backend) as server:
        async with AsyncClient(server.url) as client:
            await client.stream("Hello")


def test_fakes_alone_load_no_web_framework() -> None:
    program = (
        "import sys; from localserve.testing import FakeBackend;"
        "sys.exit(any(m in sys.modules for m in ('starlette', 'uvicorn')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
