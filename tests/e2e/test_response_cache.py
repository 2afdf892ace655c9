"""Kept answers of a real server on the built-in model, with the official SDK."""

from __future__ import annotations

import time

import httpx2
import openai
import pytest

from tests.e2e.conftest import WAIT_SECONDS, Server, Start

pytestmark = pytest.mark.e2e

QUESTION = {
    "model": "localserve-tiny",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "temperature": 0,
}


def ask(client: openai.OpenAI, **more: object) -> tuple[str | None, str]:
    """What the cache had, and the answer."""
    raw = client.chat.completions.with_raw_response.create(**(QUESTION | more))  # type: ignore[call-overload]
    return raw.headers.get("x-localserve-cache"), raw.parse().choices[0].message.content


def ask_streamed(client: openai.OpenAI) -> tuple[str | None, str]:
    raw = client.chat.completions.with_raw_response.create(**(QUESTION | {"stream": True}))  # type: ignore[call-overload]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse())
    return raw.headers.get("x-localserve-cache"), text


def test_an_answer_is_given_again_also_after_a_restart(start: Start) -> None:
    server: Server = start(environ={"LOCALSERVE_RESPONSE_CACHE": "1"})
    client = server.client()
    outcome, answer = ask(client)
    assert (outcome, "Paris" in answer) == ("miss", True)
    assert ask(client) == ("hit", answer)
    assert ask_streamed(client) == ("hit", answer)
    assert ask(client, extra_headers={"cache-control": "no-store"}) == ("bypass", answer)
    outcome, begun = ask(client, max_tokens=2)
    assert (outcome, answer.startswith(begun)) == ("miss", True)
    assert ask(client, max_tokens=2) == ("hit", begun)
    deadline = time.monotonic() + WAIT_SECONDS
    while (kept := httpx2.get(f"{server.url}/admin/cache").json())["store"]["entries"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (kept["hits"], kept["store"]["entries"]) == (3, 2)
    server.worker.kill()
    assert ask(client.with_options(max_retries=10)) == ("hit", answer)
