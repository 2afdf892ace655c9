"""Memory stays what it is: many requests, some of them left in the middle, leave nothing behind."""

from __future__ import annotations

import asyncio
import random

import httpx2
import pytest

from tests.e2e.conftest import Server, Start

pytestmark = pytest.mark.e2e

WARM_UP, REQUESTS, CLIENTS = 800, 2000, 8
MOST_GROWTH_BYTES = 3 << 20
"""Over all requests after the warm-up: 2 KB a request would be as much."""


def body(rng: random.Random) -> dict[str, object]:
    words = " ".join(rng.choices(["red", "blue", "seven", "lamp", "ox"], k=rng.randint(1, 30)))
    return {
        "messages": [{"role": "user", "content": f"{rng.random()} {words}"}],
        "max_tokens": rng.randint(1, 4),
        "stream": rng.random() < 0.7,
    }


async def ask(client: httpx2.AsyncClient, rng: random.Random) -> None:
    """One request, which one time in four is left as soon as something of it arrives."""
    async with client.stream("POST", "/v1/chat/completions", json=body(rng)) as response:
        assert response.status_code == 200
        leaves = rng.random() < 0.25
        async for _ in response.aiter_raw():
            if leaves:
                return


async def ask_many(url: str, count: int, seed: int) -> None:
    rng = random.Random(seed)
    left = iter(range(count))
    async with httpx2.AsyncClient(base_url=url, timeout=60) as client:

        async def work() -> None:
            for _ in left:
                await ask(client, rng)

        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(work())


async def test_memory_does_not_grow_with_requests(start: Start) -> None:
    small_pages = {"GLIBC_TUNABLES": ""}  # else memory is taken by 2 MiB at least
    server: Server = start("--ctx", "2048", "--parallel", "8", environ=small_pages)
    await ask_many(server.url, WARM_UP, seed=1)
    warm = server.worker.memory_info().rss
    await ask_many(server.url, REQUESTS, seed=2)
    server.wait_until(lambda: server.engine()["running"] == 0)
    grown = server.worker.memory_info().rss - warm
    print(f"resident {warm >> 20} MiB, grown by {grown >> 10} KiB")
    assert grown < MOST_GROWTH_BYTES
    assert server.stop() == 0
