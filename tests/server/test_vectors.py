"""Embeddings and reranking over HTTP, with a fake backend and the official SDK."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path

import numpy as np
import openai
import pytest

from localserve.errors import EngineFailed, Overloaded, WrongTask
from localserve.gateway.store import KeyStore
from localserve.testing import FakeBackend, fake_manager, fake_spec
from tests.server.conftest import Serve, connected, until

EMBED = "/v1/embeddings"
RERANK = "/v1/rerank"
PAIRS = {"query": "red fox", "documents": ["a blue whale", "a red fox", "a red car"]}


async def test_the_sdk_reads_vectors_however_they_are_sent(serve: Serve) -> None:
    async with serve(FakeBackend()) as served:
        url = f"http://127.0.0.1:{served.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            packed = await client.embeddings.create(model="fake", input=["one", "two"])
            plain = await client.embeddings.create(
                model="fake", input=["one", "two"], encoding_format="float"
            )
        for one, other in zip(packed.data, plain.data, strict=True):
            assert one.embedding == pytest.approx(other.embedding)
            assert np.linalg.norm(one.embedding) == pytest.approx(1)
        assert packed.usage.prompt_tokens == packed.usage.total_tokens == 6


async def test_base64_has_the_same_numbers(call: Serve) -> None:
    async with call(FakeBackend()) as served:
        bodies = [
            (await served.client.post(EMBED, json={"input": "one", "encoding_format": form})).json()
            for form in ("base64", "float")
        ]
        packed, plain = (body["data"][0]["embedding"] for body in bodies)
        assert np.frombuffer(base64.b64decode(packed), "<f4").tolist() == plain


@pytest.mark.parametrize("path", [RERANK, "/rerank", "/v1/reranking", "/reranking/"])
async def test_documents_are_ranked(call: Serve, path: str) -> None:
    async with call(FakeBackend()) as served:
        body = (await served.client.post(path, json=PAIRS | {"top_n": 2})).json()
        assert [one["index"] for one in body["results"]] == [1, 2]
        assert body["data"] == body["results"]
        assert body["model"] == "fake"


async def test_the_log_has_model_and_tokens(call: Serve) -> None:
    async with call(FakeBackend()) as served:
        await served.client.post(EMBED, json={"input": "one"})
        record = await served.record()
        assert (record.model, record.prompt_tokens, record.status) == ("fake", 3, 200)


async def test_a_large_answer_is_the_same_as_many_small_ones(call: Serve) -> None:
    async with call(FakeBackend()) as served:
        texts = [f"text {number}" for number in range(20)]
        many = (await served.client.post(EMBED, json={"input": texts})).json()["data"]
        for text, entry in zip(texts, many, strict=True):
            (one,) = (await served.client.post(EMBED, json={"input": text})).json()["data"]
            assert one["embedding"] == entry["embedding"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (WrongTask("It writes text.", hint="Name another."), 400),
        (Overloaded("Too many."), 503),
        (EngineFailed("It died."), 503),
    ],
)
async def test_what_the_backend_raises_becomes_an_answer(
    call: Serve, error: Exception, status: int
) -> None:
    async with call(FakeBackend(failure=error)) as served:
        for path, body in ((EMBED, {"input": "a"}), (RERANK, PAIRS)):
            response = await served.client.post(path, json=body)
            assert response.status_code == status
            assert str(error) in response.json()["error"]["message"]
            assert ("retry-after" in response.headers) == (status == 503)


async def test_a_client_that_leaves_cancels_the_work(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=60)
    async with serve(backend) as served:
        async with connected(served) as connection:
            await connection.post({"input": "text"}, EMBED)
            await until(lambda: backend.running == 1)
        await until(lambda: backend.cancelled == 1)
        assert (await served.record()).client_left
        assert backend.running == 0


async def test_the_end_of_the_server_is_told(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=60)
    async with serve(backend, shutdown_seconds=0) as served:
        asking = asyncio.create_task(served.client.post(EMBED, json={"input": "text"}))
        await until(lambda: backend.running == 1)
        served.server.stop()
        response = await asking
        assert response.status_code == 503
        assert "shutting down" in response.json()["error"]["message"]


async def test_an_unknown_model_is_not_found(call: Serve) -> None:
    async with call(FakeBackend()) as served:
        response = await served.client.post(EMBED, json={"input": "a", "model": "other"})
        assert response.status_code == 404


async def test_the_list_says_what_models_can_do(call: Serve) -> None:
    async with call(FakeBackend()) as served:
        (model,) = (await served.client.get("/v1/models")).json()["data"]
        assert model["capabilities"] == ["completion"]


@pytest.mark.parametrize(
    ("more", "can"),
    [
        ({"kind": "embedding"}, ["embedding"]),
        ({"pooling": "mean"}, ["embedding"]),
        ({"pooling": "rank"}, ["rerank"]),
        ({}, None),
    ],
)
async def test_of_models_that_are_not_loaded_it_says_what_is_known(
    call: Serve, more: dict[str, str], can: list[str] | None
) -> None:
    spec = replace(fake_spec(), **more)  # type: ignore[arg-type]
    manager = fake_manager(FakeBackend(), spec=spec, load_seconds=60)
    async with call(manager=manager, ready=False) as served:
        (model,) = (await served.client.get("/v1/models")).json()["data"]
        assert model.get("capabilities") == can


async def test_where_there_are_keys_one_is_needed(call: Serve, tmp_path: Path) -> None:
    secret = KeyStore(tmp_path / "keys.sqlite").create("k", now=0.0, models=["fake"]).secret
    backend = FakeBackend()
    async with call(backend, data_dir=tmp_path) as served:
        for path, body in ((EMBED, {"input": "a"}), (RERANK, PAIRS)):
            for key, status in (("", 401), ("wrong", 401), (secret, 200)):
                headers = {"authorization": f"Bearer {key}"} if key else {}
                answer = await served.client.post(path, json=body, headers=headers)
                assert answer.status_code == status
    assert len(backend.requests) == 2


async def test_a_key_that_is_for_other_models_is_refused(call: Serve, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    headers = {"authorization": f"Bearer {store.create('k', now=0.0, models=['other']).secret}"}
    backend = FakeBackend()
    async with call(backend, data_dir=tmp_path) as served:
        for path, body in ((EMBED, {"input": "a"}), (RERANK, PAIRS)):
            assert (await served.client.post(path, json=body, headers=headers)).status_code == 403
    assert backend.requests == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (EMBED, {"input": "a" * 500}),
        (RERANK, PAIRS | {"query": " ".join(map(str, range(180)))}),
    ],
)
async def test_the_tokens_of_texts_count_against_the_limit(
    call: Serve, path: str, body: dict[str, object]
) -> None:
    async with call(tokens_per_minute=600, burst_seconds=60.0) as served:
        assert (await served.client.post(path, json=body)).status_code == 200
        refused = await served.client.post(path, json=body)
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "tokens"


async def test_tokens_count_against_the_limit_of_the_key(call: Serve, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    limited = store.create("limited", now=0.0, tokens_per_minute=600).secret
    other = store.create("other", now=0.0).secret
    async with call(data_dir=tmp_path, burst_seconds=60.0) as served:
        for key, status in ((limited, 200), (limited, 429), (other, 200)):
            headers = {"authorization": f"Bearer {key}"}
            answer = await served.client.post(EMBED, json={"input": "a" * 599}, headers=headers)
            assert answer.status_code == status


async def test_what_a_failure_did_not_use_is_given_back(call: Serve) -> None:
    backend = FakeBackend(failure=EngineFailed("It died."))
    async with call(backend, tokens_per_minute=600, burst_seconds=60.0) as served:
        for _ in range(3):
            answer = await served.client.post(EMBED, json={"input": "a" * 2_000})
            assert answer.status_code == 503


async def test_a_client_that_leaves_has_used_its_tokens(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=60)
    async with serve(backend, tokens_per_minute=600, burst_seconds=60.0) as served:
        async with connected(served) as connection:
            await connection.post({"input": "a" * 2_000}, EMBED)
            await until(lambda: backend.running == 1)
        assert (await served.record()).client_left
        refused = await served.client.post(EMBED, json={"input": "a" * 2_000})
        assert refused.status_code == 429
