"""Rate limits over HTTP: what is answered, what it says, and what is given back."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from localserve.errors import EngineFailed
from localserve.gateway.store import KeyStore
from localserve.testing import FakeBackend
from tests.redis_server import redis_server
from tests.server.conftest import CHAT, HELLO, Serve, connected

TOKENS = "x-ratelimit-remaining-tokens"
REQUESTS = "x-ratelimit-remaining-requests"


async def test_the_request_too_many_is_a_429_that_says_when(call: Serve) -> None:
    async with call(requests_per_minute=2) as served:
        for left in ("1", "0"):
            answer = await served.client.post(CHAT, json=HELLO)
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit"] == "2"
            assert answer.headers["x-ratelimit-limit-requests"] == "2"
            assert answer.headers["x-ratelimit-remaining"] == left
            assert answer.headers[REQUESTS] == left
            assert float(answer.headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60
            assert 1 <= int(answer.headers["x-ratelimit-reset"]) <= 60
        refused = await served.client.post(CHAT, json=HELLO)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert refused.json()["error"]["type"] == "requests"
        assert (refused.json()["status"], refused.json()["type"]) == (
            429,
            "/errors/rate_limit_exceeded",
        )
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert len(refused.headers.get_list("x-ratelimit-limit")) == 1
        assert (await served.client.get("/health/live")).status_code == 200
        assert "x-ratelimit-limit" not in (await served.client.get("/health/live")).headers


async def test_every_answer_says_what_is_left_where_a_limit_applies(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend, requests_per_minute=100, tokens_per_minute=9000) as served:
        for path, body in (
            (CHAT, HELLO),
            (CHAT, HELLO | {"stream": True}),
            (CHAT, HELLO | {"model": "none"}),
            (CHAT, {"messages": 1}),
            ("/nothing", {}),
        ):
            answer = await served.client.post(path, json=body)
            assert int(answer.headers[REQUESTS]) < 100, path
            assert int(answer.headers[TOKENS]) <= 9000
            assert answer.headers["x-ratelimit-limit-tokens"] == "9000"
        backend.failure = RuntimeError("a bug")
        answer = await served.client.post(CHAT, json=HELLO)
        assert answer.status_code == 500
        assert REQUESTS in answer.headers


async def test_without_limits_no_answer_speaks_of_them(call: Serve) -> None:
    async with call() as served:
        answer = await served.client.post(CHAT, json=HELLO)
        assert [name for name in answer.headers if "ratelimit" in name] == []


async def test_tokens_are_reserved_and_what_was_not_used_is_given_back(call: Serve) -> None:
    body = HELLO | {"max_tokens": 500}
    async with call(tokens_per_minute=600, burst_seconds=60.0) as served:
        first = await served.client.post(CHAT, json=body)
        assert int(first.headers[TOKENS]) < 100, "while it is answered"
        models = await served.client.get("/v1/models")
        assert int(models.headers[TOKENS]) >= 590, "1 token of prompt and 2 of the answer"
        for stream in (False, True):
            again = await served.client.post(CHAT, json=body | {"stream": stream})
            assert again.status_code == 200
        backend_error = await served.client.post(CHAT, json=body | {"model": "none"})
        assert backend_error.status_code == 404
        models = await served.client.get("/v1/models")
        assert int(models.headers[TOKENS]) >= 580


async def test_a_request_that_fails_in_the_backend_costs_no_tokens_but_its_prompt(
    call: Serve,
) -> None:
    backend = FakeBackend(failure=EngineFailed("broken"))
    async with call(backend, tokens_per_minute=600) as served:
        assert (await served.client.post(CHAT, json=HELLO)).status_code == 503
        models = await served.client.get("/v1/models")
        assert int(models.headers[TOKENS]) >= 595


async def test_more_tokens_than_are_left_are_refused_before_anything_is_computed(
    call: Serve,
) -> None:
    backend = FakeBackend(" ".join(["word"] * 90))
    async with call(backend, tokens_per_minute=100) as served:
        large = HELLO | {"max_tokens": 5000}
        assert (await served.client.post(CHAT, json=large)).status_code == 200
        refused = await served.client.post(CHAT, json=large)
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert error["type"] == "tokens"
        assert "100 tokens per minute" in error["message"]
        assert "5,0" in error["message"]
        assert 40 <= int(refused.headers["retry-after"]) <= 60
        assert len(backend.requests) == 1


async def test_a_client_that_leaves_gets_back_what_was_not_answered(serve: Serve) -> None:
    backend = FakeBackend(" ".join(["word"] * 400), token_delay_seconds=0.01)
    async with serve(backend, tokens_per_minute=1000) as served:
        async with connected(served) as connection:
            await connection.post(HELLO | {"stream": True, "max_tokens": 900})
            await connection.read_until(b"word")
        await served.record()
        models = await served.client.get("/v1/models")
        assert int(models.headers[TOKENS]) > 500


async def test_keys_have_rates_of_their_own_and_routes_theirs(call: Serve, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    guest = store.create("guest", now=0.0, requests_per_minute=1).secret
    boss = store.create("boss", now=0.0, scope="admin", requests_per_minute=50).secret
    options = {"data_dir": tmp_path, "requests_per_minute": 10, "route_limits": "/admin=1"}
    async with call(**options) as served:

        async def get(path: str, key: str) -> int:
            headers = {"x-api-key": key}
            return (await served.client.get(path, headers=headers)).status_code

        assert [await get("/v1/models", guest) for _ in range(3)] == [200, 429, 429]
        assert [await get("/v1/models", boss) for _ in range(3)] == [200, 200, 200]
        assert [await get("/v1/admin/keys", boss), await get("/admin/models", boss)] == [200, 429]
        assert await get("/v1/models", boss) == 200
        assert await get("/v1/models", "wrong") == 401


async def test_servers_with_one_redis_share_their_limits(call: Serve, tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        options = {"requests_per_minute": 2, "redis_url": redis.url}
        async with call(**options) as one, call(**options) as other:
            assert (await one.client.get("/v1/models")).headers[REQUESTS] == "1"
            assert (await other.client.get("/v1/models")).headers[REQUESTS] == "0"
            assert (await one.client.get("/v1/models")).status_code == 429
            redis.kill()
            assert (await one.client.post(CHAT, json=HELLO)).status_code == 200


async def test_forged_addresses_are_not_believed(serve: Serve) -> None:
    async with serve(requests_per_minute=1) as served:
        statuses = []
        for number in range(3):
            headers = {"x-forwarded-for": f"10.0.0.{number}", "x-real-ip": f"10.0.0.{number}"}
            statuses.append((await served.client.get("/v1/models", headers=headers)).status_code)
        assert statuses == [200, 429, 429]


async def test_the_official_client_is_told_and_waits_as_long_as_it_is_told(serve: Serve) -> None:
    limits = "/models=1"
    async with serve(requests_per_minute=60, burst_seconds=1.0, route_limits=limits) as served:
        url = f"http://127.0.0.1:{served.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
            assert [model.id async for model in client.models.list()] == ["fake"]
            with pytest.raises(openai.RateLimitError) as refused:
                await client.models.list()
            assert 50 <= int(refused.value.response.headers["retry-after"]) <= 60
        async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=5) as client:
            for _ in range(2):
                answer = await client.chat.completions.create(
                    model="", messages=[{"role": "user", "content": "Hello"}]
                )
                assert answer.usage is not None
