"""The response cache as clients see it, in every dialect."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from localserve.catalog.routes import Route, RouteTable, Target
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import Message, ToolCall
from localserve.errors import EngineFailed
from localserve.gateway.store import KeyStore
from localserve.testing import FakeBackend, Thought, fake_manager
from tests.redis_server import redis_server
from tests.server.conftest import CHAT, Serve, Served, connected, until
from tests.server.test_metrics import scrape, value

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "temperature": 0}
TEXT = {"prompt": "Hello", "temperature": 0, "max_tokens": 5}
DIALECTS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, HELLO),
    (CHAT, HELLO | {"stream": True, "stream_options": {"include_usage": True}}),
    (CHAT, HELLO | {"logprobs": True, "top_logprobs": 1, "n": 2}),
    (CHAT, HELLO | {"stream": True, "return_progress": True}),
    ("/v1/completions", TEXT),
    ("/v1/completions", TEXT | {"stream": True}),
    ("/v1/responses", {"input": "Hello", "temperature": 0}),
    ("/v1/responses", {"input": "Hello", "temperature": 0, "stream": True}),
    ("/v1/messages", HELLO | {"model": "fake", "max_tokens": 50}),
    ("/v1/messages", HELLO | {"model": "fake", "max_tokens": 50, "stream": True}),
    ("/completion", TEXT),
    ("/completion", TEXT | {"stream": True}),
    ("/infill", {"input_prefix": "a", "input_suffix": "b", "temperature": 0}),
    ("/api/chat", {"messages": HELLO["messages"], "options": {"temperature": 0}}),
    ("/api/generate", {"prompt": "Hello", "options": {"seed": 7}, "stream": False}),
    ("/v1/embeddings", {"input": ["Hello", "there"]}),
    ("/v1/embeddings", {"input": "Hello", "encoding_format": "base64", "dimensions": 4}),
    ("/embedding", {"content": "Hello"}),
    ("/api/embed", {"input": "Hello"}),
]


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Arguments of `call` and `serve`: a model with a file, and a cache."""
    file = tmp_path / "fake.gguf"
    file.write_bytes(b"GGUF" * 100)

    def made(backend: FakeBackend | None = None, **settings: Any) -> dict[str, Any]:
        manager = fake_manager(
            backend or FakeBackend("It is Paris."), spec=ModelSpec("fake", LocalFile(file), ("f",))
        )
        cache = tmp_path / "cache"
        return {"manager": manager, "response_cache": True, "cache_dir": cache, **settings}

    return made


Options = Callable[..., dict[str, Any]]


async def post(
    served: Served, body: dict[str, Any] = HELLO, path: str = CHAT, **headers: str
) -> tuple[str, httpx2.Response]:
    """What the cache had, and the response, once what is to be kept is kept."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await served.client.post(path, json=body, headers=sent)
    cache = served.app.state.caching.cache
    await asyncio.gather(*cache._saving)
    return response.headers.get("x-localserve-cache", ""), response


def settled(text: str) -> str:
    """Without what is new in each answer by its nature: ids, and the times of the request."""
    text = re.sub(r'"(?:id|item_id|response_id)": ?"[^"]*"', '"id":""', text)
    return re.sub(r'"(created\w*|completed_at|\w+_duration)": ?("[^"]*"|\d+)', r'"\1":0', text)


@pytest.mark.parametrize(("path", "body"), DIALECTS)
async def test_every_dialect_gives_a_kept_answer_as_it_gave_it_first(
    serve: Serve, options: Options, path: str, body: dict[str, Any]
) -> None:
    def script(messages: Sequence[Message]) -> Sequence[Any]:
        return [Thought("hm"), "It is Paris."] if path == CHAT else ["It is Paris."]

    backend = FakeBackend(script)
    async with serve(**options(backend)) as served:
        first_outcome, first = await post(served, body, path)
        again_outcome, again = await post(served, body, path)
    assert first.status_code == 200, first.text
    assert (first_outcome, again_outcome) == ("miss", "hit")
    assert first.headers["content-type"] == again.headers["content-type"]
    assert settled(first.text) == settled(again.text)
    assert len(backend.requests) == 1


async def test_a_stream_is_a_stream_again_whose_pieces_come_together(
    call: Serve, options: Options
) -> None:
    body = HELLO | {"stream": True}
    async with call(**options(FakeBackend("a b c", token_delay_seconds=0.001))) as served:
        texts = []
        for _ in range(2):
            _, response = await post(served, body)
            assert response.headers["content-type"].startswith("text/event-stream")
            frames = [json.loads(line[6:]) for line in response.text.split("\n\n")[:-2]]
            deltas = [frame["choices"][0]["delta"].get("content") for frame in frames]
            texts.append([delta for delta in deltas if delta])
    assert texts == [["a", " b", " c"], ["a b c"]]


async def test_tool_calls_are_given_again(call: Serve, options: Options) -> None:
    backend = FakeBackend(lambda messages: [ToolCall("call-1", "look", '{"a":1}')])
    body = HELLO | {"tools": [{"type": "function", "function": {"name": "look"}}]}
    async with call(**options(backend)) as served:
        for outcome in ("miss", "hit"):
            found, response = await post(served, body)
            assert found == outcome
            (made,) = response.json()["choices"][0]["message"]["tool_calls"]
            assert made["function"] == {"name": "look", "arguments": '{"a":1}'}


async def test_a_stream_and_a_whole_answer_share_what_is_kept(
    call: Serve, options: Options
) -> None:
    async with call(**options()) as served:
        assert (await post(served, HELLO | {"stream": True}))[0] == "miss"
        assert (await post(served, HELLO | {"model": "f"}))[0] == "hit"


async def test_without_the_setting_nothing_is_kept_and_nothing_said(
    call: Serve, tmp_path: Path
) -> None:
    backend = FakeBackend()
    async with call(backend, cache_dir=tmp_path) as served:
        for _ in range(2):
            response = await served.client.post(CHAT, json=HELLO)
            assert "x-localserve-cache" not in response.headers
        assert (await served.client.get("/admin/cache")).json() == {"enabled": False}
    assert len(backend.requests) == 2
    assert not (tmp_path / "responses.sqlite").exists()


async def test_what_is_not_determined_passes_by(call: Serve, options: Options) -> None:
    backend = FakeBackend()
    async with call(**options(backend)) as served:
        for body in (HELLO | {"temperature": 1}, {"messages": HELLO["messages"]}):
            for _ in range(2):
                assert (await post(served, body))[0] == "bypass"
        assert (await post(served, HELLO | {"temperature": 1, "seed": 3}))[0] == "miss"
    assert len(backend.requests) == 5


async def test_the_clients_wishes_are_honoured(call: Serve, options: Options) -> None:
    backend = FakeBackend()
    async with call(**options(backend)) as served:
        assert (await post(served, cache_control="no-store"))[0] == "bypass"
        assert (await post(served))[0] == "miss"
        assert (await post(served, cache_control="max-age=0, No-Store"))[0] == "bypass"
        assert (await post(served, cache_control="no-cache"))[0] == "miss"
        assert (await post(served))[0] == "hit"
    assert len(backend.requests) == 4


async def test_errors_and_answers_cut_off_are_not_kept(call: Serve, options: Options) -> None:
    backend = FakeBackend("a b c", failure=EngineFailed("x"), failure_after=1)
    async with call(**options(backend)) as served:
        outcome, response = await post(served)
        assert (outcome, response.status_code) == ("miss", 503)
        assert "error" in (await post(served, HELLO | {"stream": True}))[1].text
        backend.failure = None
        assert (await post(served))[0] == "miss"
        assert (await post(served))[0] == "hit"


async def test_a_model_nobody_knows_is_refused_as_ever(call: Serve, options: Options) -> None:
    async with call(**options()) as served:
        outcome, response = await post(served, HELLO | {"model": "x"})
        assert (outcome, response.status_code) == ("bypass", 404)


async def test_an_answer_goes_with_the_file_that_gave_it(
    call: Serve, options: Options, tmp_path: Path
) -> None:
    async with call(**options()) as served:
        assert (await post(served))[0] == "miss"
        (tmp_path / "fake.gguf").write_bytes(b"GGUF" * 101)
        assert (await post(served))[0] == "miss"
        (tmp_path / "fake.gguf").unlink()
        assert (await post(served))[0] == "bypass"


async def test_a_copy_of_the_file_shares_answers_in_redis_only(
    call: Serve, options: Options, tmp_path: Path
) -> None:
    file = tmp_path / "fake.gguf"
    with redis_server(tmp_path) as redis:
        for url, again in ((None, "miss"), (redis.url, "hit")):
            outcomes = []
            for seconds in (1, 2):
                os.utime(file, (seconds, seconds))
                async with call(**options(redis_url=url)) as served:
                    outcomes.append((await post(served))[0])
            assert outcomes == ["miss", again]


async def test_a_route_finds_what_its_model_answered(call: Serve, options: Options) -> None:
    table = RouteTable((Route("auto", "order", (Target("fake"),)),))
    backend = FakeBackend()
    async with call(**options(backend, arguments={"routes": table})) as served:
        assert (await post(served, HELLO | {"model": "fake"}))[0] == "miss"
        outcome, response = await post(served, HELLO | {"model": "auto"})
        assert outcome == "hit"
        assert response.headers["x-localserve-route"].startswith("auto -> fake")
        vectors = {"input": "Hello"}
        assert (await post(served, vectors, "/v1/embeddings"))[0] == "miss"
        assert (await post(served, vectors | {"model": "auto"}, "/v1/embeddings"))[0] == "hit"
    assert len(backend.requests) == 2


async def test_keys_share_no_answers_unless_that_is_wanted(
    call: Serve, options: Options, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "data" / "keys.sqlite")
    secrets = [store.create(name, now=0.0, scope="admin").secret for name in ("a", "b")]
    for shared in (False, True):
        made = options(data_dir=tmp_path / "data", share_responses=shared)
        async with call(**made) as served:
            keys = [f"Bearer {secret}" for secret in secrets]
            outcomes = [(await post(served, authorization=key))[0] for key in (*keys, *keys)]
        assert outcomes == ["miss", "hit" if shared else "miss", "hit", "hit"]


async def test_identical_streams_at_once_are_computed_once_and_outlive_the_first(
    serve: Serve, options: Options
) -> None:
    backend = FakeBackend("one two three four", token_delay_seconds=0.1)
    body = HELLO | {"stream": True}
    async with serve(**options(backend)) as served:
        async with connected(served) as leader:
            await leader.post(body)
            await leader.read_until(b"one")
            following = asyncio.create_task(post(served, body))
            await until(lambda: served.app.state.caching.cache.figures.hits == 1)
        outcome, response = await following
    assert outcome == "hit"
    assert response.text.rstrip().endswith("data: [DONE]")
    words = [
        json.loads(line[6:])["choices"][0]["delta"].get("content", "")
        for line in response.text.splitlines()
        if line.startswith("data: {") and json.loads(line[6:])["choices"]
    ]
    assert "".join(words) == "one two three four"
    assert (len(backend.requests), backend.cancelled) == (1, 0)


@pytest.mark.parametrize("stays", [True, False])
async def test_every_token_is_used_once_by_whom_it_was_computed_for(
    serve: Serve, options: Options, stays: bool
) -> None:
    backend = FakeBackend("one two three four", token_delay_seconds=0.01 if stays else 0.1)
    async with serve(**options(backend)) as served:
        async with connected(served) as leader:
            await leader.post(HELLO | {"stream": True})
            await leader.read_until(b"one")
            following = asyncio.create_task(post(served, HELLO))
            await until(lambda: served.app.state.caching.cache.figures.hits == 1)
            if stays:
                await leader.read_until(b"[DONE]")
        await following
        await until(lambda: len(served.records) == 2)
        samples = await scrape(served)
    led, followed = sorted(served.records[:2], key=lambda record: record.cache, reverse=True)
    assert (led.cache, followed.cache) == ("miss", "hit")
    answer = [record.answer_tokens_used for record in (led, followed)]
    prompt = [record.prompt_tokens_used for record in (led, followed)]
    assert prompt == [followed.prompt_tokens, 0]
    assert answer == [4, 0] if stays else 1 <= answer[0] < 4
    assert sum(answer) == 4
    assert (led.tokens_used, followed.tokens_used) == (prompt[0] + answer[0], answer[1])
    assert value(samples, "prompt_tokens_total", model="fake") == prompt[0]
    assert value(samples, "completion_tokens_total", model="fake") == 4
    saved = value(samples, "response_cache_saved_tokens_total")
    assert saved == (prompt[0] + 4 if stays else 0)


async def test_vectors_are_used_by_who_stays_for_them(serve: Serve, options: Options) -> None:
    backend = FakeBackend(accept_delay_seconds=0.3)
    body = {"input": ["Hello", "there"]}
    async with serve(**options(backend)) as served:
        async with connected(served) as leader:
            await leader.post(body, "/v1/embeddings")
            await until(lambda: len(backend.requests) == 1)
            following = asyncio.create_task(post(served, body, "/v1/embeddings"))
            await until(lambda: served.app.state.caching.cache.figures.hits == 1)
        outcome, response = await following
        samples = await scrape(served)
    used = response.json()["usage"]["prompt_tokens"]
    assert outcome == "hit"
    assert used == value(samples, "prompt_tokens_total", model="fake") > 0
    assert [one.tokens_used for one in served.records if one.cache == "hit"] == [used]


async def test_an_answer_that_everybody_left_is_cancelled(serve: Serve, options: Options) -> None:
    backend = FakeBackend("one two", token_delay_seconds=60)
    async with serve(**options(backend)) as served:
        async with connected(served) as leader:
            await leader.post(HELLO)
            await until(lambda: backend.running == 1)
        await until(lambda: backend.cancelled == 1)
        assert (await served.record()).client_left


async def test_hits_cost_no_tokens_and_count_as_saved(call: Serve, options: Options) -> None:
    async with call(**options(tokens_per_minute=600)) as served:
        left = []
        for _ in range(3):
            await post(served, HELLO | {"max_tokens": 10})
            served.records.pop()
            response = await served.client.get("/v1/models")
            left.append(int(response.headers["x-ratelimit-remaining-tokens"]))
        samples = await scrape(served)
        document = (await served.client.get("/admin/cache")).json()
    assert left[1] >= left[0]
    assert left[2] >= left[1]
    assert value(samples, "response_cache_requests_total", result="hit") == 2
    assert value(samples, "response_cache_requests_total", result="miss") == 1
    assert value(samples, "response_cache_saved_tokens_total") == 8
    assert value(samples, "response_cache_entries", tier="disk") == 1
    assert value(samples, "completion_tokens_total", model="fake") == 3
    assert (document["hits"], document["saved_tokens"]) == (2, 8)
    assert document["store"]["kind"] == "disk"
    assert document["store"]["bytes"] == document["memory"]["bytes"] > 0


async def test_the_log_tells_hits_without_times_of_the_engine(
    call: Serve, options: Options
) -> None:
    async with call(**options()) as served:
        for outcome in ("miss", "hit"):
            await post(served)
            record = served.records.pop()
            assert record.cache == outcome
            assert (record.queue_ms is None) is (outcome == "hit")
            assert record.completion_tokens == 3


async def test_purging_by_route(call: Serve, options: Options) -> None:
    async with call(**options()) as served:
        await post(served)
        purged = await served.client.post("/admin/cache/purge", json={"model": "other"})
        assert purged.json() == {"purged": 0, "model": "other"}
        assert (await post(served))[0] == "hit"
        purged = await served.client.post("/admin/cache/purge", json={})
        assert purged.json() == {"purged": 1, "model": None}
        assert (await post(served))[0] == "miss"
        wrong = await served.client.post("/admin/cache/purge", json={"models": "x"})
        assert wrong.status_code in (400, 422)


async def test_a_template_that_tells_the_day_keeps_its_answers_for_the_day(
    call: Serve, options: Options
) -> None:
    for template, most in (
        ("{{ strftime_now('%d') }}", 86_400),
        ("Today Date: {{ date_string }}", 86_400),
        ("Today is {{ datetime }}", 86_400),
        ("{{ messages }}", 604_800),
    ):
        backend = FakeBackend()
        backend.facts = replace(backend.facts, chat_template=template)
        async with call(**options(backend)) as served:
            seeded = HELLO | {"seed": len(template), "temperature": 0.5}
            assert (await post(served, seeded))[0] == "miss"
            cache = served.app.state.caching.cache
            (entry,) = cache.memory_entries._entries.values()
            left = entry.expires_at - cache._clock()
            assert left <= most
            assert (left > 86_400) is (most > 86_400)


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0} | more


async def test_a_question_in_other_words_gets_the_answer_where_that_is_wanted(
    call: Serve, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "localserve.server.similar_answers")
    near, far = "What is France's capital?", "1234567890"
    async with call(**options(semantic_cache_model="fake")) as served:
        assert (await post(served, question("What is Frances capital?")))[0] == "miss"
        outcome, response = await post(served, question(near))
        assert outcome == "hit"
        distance = response.headers["x-localserve-cache-distance"]
        assert 0 < float(distance) <= 0.05
        assert f"at a distance of {distance}" in caplog.text
        outcome, response = await post(served, question(far))
        assert outcome == "miss"
        assert "x-localserve-cache-distance" not in response.headers
        system = [{"role": "system", "content": "Short."}]
        tool = {"type": "function", "function": {"name": "look"}}
        for other in (
            question(near, max_tokens=9),
            question(near, tools=[tool]),
            question(near, messages=[*system, *question(near)["messages"]]),
            question(near, messages=[*HELLO["messages"] * 3, *question(near)["messages"]]),
        ):
            assert (await post(served, other))[0] == "miss"
    async with call(**options(cache_dir=Path("/dev/null/x"))) as served:
        assert (await post(served, question("What is Frances capital?")))[0] == "miss"
        assert (await post(served, question(near)))[0] == "miss"


async def test_no_similar_answer_crosses_keys_or_outlives_a_purge(
    call: Serve, options: Options, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "data" / "keys.sqlite")
    keys = [store.create(name, now=0.0, scope="admin").secret for name in ("a", "b")]
    one, other = question("What is Frances capital?"), question("What is France's capital?")
    made = options(data_dir=tmp_path / "data", semantic_cache_model="fake")
    async with call(**made) as served:
        a, b = ({"x_api_key": key} for key in keys)
        assert (await post(served, one, **a))[0] == "miss"
        assert (await post(served, other, **b))[0] == "miss"
        assert (await post(served, other, **a))[0] == "hit"
        await served.client.post("/admin/cache/purge", json={}, headers={"x-api-key": keys[0]})
        assert (await post(served, other, **a))[0] == "miss"


async def test_without_its_embedding_model_questions_are_only_the_same_or_not(
    call: Serve, options: Options, caplog: pytest.LogCaptureFixture
) -> None:
    async with call(**options(semantic_cache_model="nowhere")) as served:
        assert (await post(served))[0] == "miss"
        assert (await post(served))[0] == "hit"
        assert (await post(served, question("Hello!")))[0] == "miss"
    lines = [line for line in caplog.messages if "Similar questions are not found" in line]
    assert len(lines) == 1


async def test_a_broken_store_fails_no_request(
    call: Serve, options: Options, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    async with call(**options()) as served:
        assert [(await post(served))[0] for _ in range(2)] == ["miss", "hit"]
        assert not (await served.client.get("/admin/cache")).json()["store"]["works"]
        assert (await served.client.post("/admin/cache/purge", json={})).status_code == 503
