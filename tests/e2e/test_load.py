"""Hostile load on a real server: nothing hangs and no cell is lost, checked after each test."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.e2e.conftest import WAIT_SECONDS, Server, serve_with

pytestmark = pytest.mark.e2e

CONTEXT = 1_024
COMPLETION = "/v1/completions"
TOKEN = 100
"""Any token of text."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    with serve_with(home, "--ctx", str(CONTEXT), "--parallel", "4") as server:
        yield server


@pytest.fixture
def loaded(shared: Server) -> Iterator[Server]:
    """The server; after the test it is the same process, idle, with all of its cells to give."""
    worker = shared.worker.pid
    yield shared
    shared.wait_until(lambda: shared.engine()["running"] == shared.engine()["waiting"] == 0)
    body = {"prompt": [TOKEN + 1] * CONTEXT, "max_tokens": 1}
    whole = shared.post(COMPLETION, body).json()
    assert whole["usage"]["prompt_tokens"] == CONTEXT
    assert shared.engine()["cells_used"] <= CONTEXT
    assert shared.worker.pid == worker


async def test_200_connections_at_once_are_answered_or_told_when_to_come_again(
    loaded: Server,
) -> None:
    async def ask(number: int) -> httpx2.Response:
        async with httpx2.AsyncClient(base_url=loaded.url, timeout=WAIT_SECONDS) as client:
            body = {"prompt": f"{number} lamps", "max_tokens": 4, "ignore_eos": True}
            return await client.post(COMPLETION, json=body | {"stream": number % 2 == 0})

    answers = await asyncio.gather(*(ask(number) for number in range(200)))
    answered = [one for one in answers if one.status_code == 200]
    refused = [one for one in answers if one.status_code != 200]
    assert len(answered) >= 64
    for one in refused:
        assert one.status_code == 503, one.text
        assert one.json()["error"]["code"] == "overloaded"
        assert int(one.headers["retry-after"]) > 0
    for one in answered:
        if one.headers["content-type"].startswith("text/event-stream"):
            assert one.text.endswith("data: [DONE]\n\n")
        else:
            assert one.json()["usage"]["completion_tokens"] == 4


def test_clients_that_read_nothing_hold_neither_the_engine_nor_memory(loaded: Server) -> None:
    parts = urlsplit(loaded.url)
    body = json.dumps(
        {
            "prompt": "once",
            "max_tokens": 300,
            "ignore_eos": True,
            "stream": True,
            "logprobs": 20,
        }
    ).encode()
    head = f"POST {COMPLETION} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    before = loaded.worker.memory_info().rss
    with ExitStack() as held:
        for _ in range(4):
            slow = held.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.settimeout(WAIT_SECONDS)
            slow.connect((parts.hostname, parts.port))
            slow.sendall(head.encode() + body)
        loaded.wait_until(lambda: loaded.engine()["running"] > 0)
        answer = loaded.post(COMPLETION, {"prompt": "seven", "max_tokens": 2})
        assert answer.status_code == 200
        # Nobody has read a byte, and all of it is computed: the engine waits for no reader.
        loaded.wait_until(lambda: loaded.engine()["running"] == loaded.engine()["waiting"] == 0)
        grown = loaded.worker.memory_info().rss - before
        assert grown < 100 << 20, f"grown by {grown >> 20} MiB"


async def test_cancels_at_every_moment(loaded: Server) -> None:
    rng = random.Random(7)

    async def leave(number: int) -> None:
        body = {
            "prompt": f"{number} " + "word " * rng.choice([1, 30, 300]),
            "max_tokens": 200,
            "ignore_eos": True,
            "stream": number % 3 > 0,
        }
        async with httpx2.AsyncClient(base_url=loaded.url, timeout=WAIT_SECONDS) as client:
            asking = asyncio.create_task(client.post(COMPLETION, json=body))
            await asyncio.sleep(rng.random() ** 3)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    for first in range(0, 60, 12):
        await asyncio.gather(*(leave(number) for number in range(first, first + 12)))


async def test_prompts_of_one_token_and_of_exactly_the_context_at_once(loaded: Server) -> None:
    prompts = [[TOKEN + number] * size for number in range(4) for size in (1, CONTEXT)]
    async with httpx2.AsyncClient(base_url=loaded.url, timeout=WAIT_SECONDS) as client:

        async def ask(prompt: list[int]) -> httpx2.Response:
            body = {"prompt": prompt, "max_tokens": 3, "ignore_eos": True}
            return await client.post(COMPLETION, json=body)

        answers = await asyncio.gather(*map(ask, prompts))
        one_more = await ask([TOKEN] * (CONTEXT + 1))
    for prompt, answer in zip(prompts, answers, strict=True):
        assert answer.status_code == 200, answer.text
        usage = answer.json()["usage"]
        assert usage["prompt_tokens"] == len(prompt)
        assert usage["completion_tokens"] == (3 if len(prompt) == 1 else 1)
    assert one_more.status_code == 400
    assert one_more.json()["error"]["code"] == "context_length_exceeded"
